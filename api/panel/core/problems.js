// Why a call was not done: refused by the service, or never answered.

/** The service has answered that it did not do it (RFC 9457). */
export class Problem extends Error {
  constructor(status, body) {
    super(body.detail ?? `The service answered with status ${status}.`);
    this.name = "Problem";
    this.status = status;
    this.code = body.code ?? "unknown";
    this.body = body;
  }

  /** The session has moved on from the revision that was stated. */
  get isStale() {
    return this.code === "stale-revision";
  }

  /** The service could not say; the same call may be sent again. */
  get isPassing() {
    return this.status >= 500 || this.status === 429 || this.body.retry === "replay";
  }
}

/** Nobody knows whether it was done: no answer came. */
export class NoAnswer extends Error {
  constructor(cause) {
    super("There is no connection to the service.");
    this.name = "NoAnswer";
    this.cause = cause;
  }
}

/** Say it for people: the faults of the input by name, else what the service says. */
export function explain(error) {
  if (error instanceof Problem && Array.isArray(error.body.errors)) {
    return error.body.errors.map((fault) => `${fault.pointer.replace(/^[/?]/, "")}: ${fault.message}`).join("; ");
  }
  if (error instanceof Problem && error.body.spent !== undefined) {
    return `${error.message} Spent ${error.body.spent} of ${error.body.limit}.`;
  }
  return error.message;
}
