// What this service can do, read from its published schema, so that nothing is offered that is not there.

const WANTED = {
  remove: ["delete", /^\/v1\/sessions\/\{\w+\}$/],
  exportSession: ["get", /^\/v1\/sessions\/\{\w+\}\/export$/],
  interaction: ["get", /^\/v1\/interactions\/\{\w+\}$/],
};

export const NO_FEATURES = Object.fromEntries(Object.keys(WANTED).map((name) => [name, false]));

/** Read the features out of an OpenAPI document. */
export function featuresOf(document) {
  const paths = Object.entries(document.paths ?? {});
  return Object.fromEntries(
    Object.entries(WANTED).map(([name, [method, pattern]]) => [
      name,
      paths.some(([path, methods]) => pattern.test(path) && methods[method] !== undefined),
    ]),
  );
}
