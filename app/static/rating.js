// Two buttons below an answer: was it good?

import { rateAnswer } from "./api.js";
import { element } from "./dom.js";
import { say } from "./i18n.js";

const RATINGS = { up: ["👍", "helpful"], down: ["👎", "unhelpful"] };

/** The buttons for an answer, with what was said of it before. */
export function ratingButtons(answerId, rating = null) {
  const words = { helpful: say("helpful"), unhelpful: say("unhelpful") };
  const buttons = Object.entries(RATINGS).map(([value, [sign, word]]) => {
    const button = element("button", { type: "button", className: "quiet", textContent: sign, title: words[word] });
    button.setAttribute("aria-label", words[word]);
    button.value = value;
    return button;
  });
  const show = (given) => buttons.forEach((each) => each.setAttribute("aria-pressed", String(each.value === given)));
  for (const button of buttons) {
    button.addEventListener("click", async () => {
      try {
        await rateAnswer(answerId, button.value);
        show(button.value);
      } catch (error) {
        button.title = error.message;
        button.disabled = true; // the answer is no longer kept
      }
    });
  }
  show(rating);
  return element("p", { className: "rating" }, ...buttons);
}
