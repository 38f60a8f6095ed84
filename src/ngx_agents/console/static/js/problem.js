// Everything that can go wrong, as one error type with a stable `code`; the words for it are in words/*.js.

export class Problem extends Error {
  /**
   * `status` is 0 when no answer came at all. `retryAfterS` is null when the server named none; `firstAid` is to be shown
   * whatever else went wrong.
   */
  constructor(status, code, { retryAfterS = null, field = null, firstAid = null } = {}) {
    super(code);
    this.status = status;
    this.code = code;
    this.retryAfterS = retryAfterS;
    this.field = field;
    this.firstAid = firstAid;
  }

  /** Whether the same call may succeed by itself a little later. */
  get isPassing() {
    return this.status === 0 || this.status === 429 || this.status === 408 || this.status >= 500;
  }

  static offline() {
    return new Problem(0, "network");
  }

  /** Reads an application/problem+json answer; anything else becomes a code made of the status. */
  static async from(response) {
    const body = await response.json().catch(() => ({}));
    const header = Number.parseFloat(response.headers.get("retry-after") ?? "");
    const retryAfterS = body.retry_after_s ?? (Number.isFinite(header) ? header : null);
    const { field = null, first_aid: firstAid = null } = body;
    return new Problem(response.status, body.code ?? `http_${response.status}`, { retryAfterS, field, firstAid });
  }
}
