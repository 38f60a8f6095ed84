// Tells of a problem in the user's words, with a way to try again.

import { el } from "./dom.js";
import { hasWord } from "./i18n.js";

const WITHOUT_RETRY = new Set(["unauthenticated", "forbidden", "invalid_request", "body_too_large", "model_blocked"]);

/** A notice for `problem` (`code`, `retryAfterS`); `retry` is called at most once. */
export function problemNotice(problem, retry) {
  const key = `error_${problem.code}`;
  const notice = el(
    "div",
    { class: "notice", role: "alert", dataset: { code: problem.code } },
    el("strong", { say: "error_title" }),
    hasWord(key)
      ? el("p", { say: key })
      : el("p", { say: "error_unknown", sayWith: { code: problem.code } }),
  );
  const seconds = Math.ceil(problem.retryAfterS ?? 0);
  if (seconds > 1) notice.append(el("p", { class: "soft", say: "error_retry_in", sayWith: { seconds } }));
  if (retry && !WITHOUT_RETRY.has(problem.code)) {
    const again = () => {
      notice.remove();
      retry();
    };
    notice.append(el("button", { type: "button", class: "button", say: "retry", on: { click: again } }));
  }
  return notice;
}

/** A quiet remark below an answer, such as that it was stopped. */
export const remark = (key) => el("p", { class: "remark", say: key });
