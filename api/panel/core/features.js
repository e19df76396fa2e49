// What this service can do, read from its published schema, so that nothing is offered that is not there.

const WANTED = {
  remove: ["delete", "/v1/sessions/{session_id}"],
  exportSession: ["get", "/v1/sessions/{session_id}/export"],
  approvals: ["get", "/v1/approvals"],
  decide: ["post", "/v1/approvals/{approval_id}/decision"],
  interactions: ["get", "/v1/interactions"],
  interaction: ["get", "/v1/interactions/{interaction_id}"],
};

export const NO_FEATURES = Object.fromEntries(Object.keys(WANTED).map((name) => [name, false]));

/** Read the features out of an OpenAPI document. */
export function featuresOf(document) {
  return Object.fromEntries(
    Object.entries(WANTED).map(([name, [method, path]]) => [name, document.paths?.[path]?.[method] !== undefined]),
  );
}
