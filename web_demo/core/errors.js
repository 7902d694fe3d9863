/** An error that a person can mend: one sentence of cause, one of what to do. */
export class EdgekitError extends Error {
  /**
   * @param {string} what
   * @param {string} hint
   */
  constructor(what, hint = "") {
    super(hint ? `${what} — ${hint}` : what);
    this.what = what;
    this.hint = hint;
  }
}
