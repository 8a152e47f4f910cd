// The page's words, in the first of the reader's languages that it speaks.

import { messages } from "./messages.js";

const preferred = navigator.languages?.length ? navigator.languages : [navigator.language];
export const language = preferred.map((tag) => tag.slice(0, 2).toLowerCase()).find((tag) => tag in messages) ?? "en";

/** A message of `messages.js`; some take arguments. */
export function say(key, ...values) {
  const message = messages[language][key];
  return typeof message === "function" ? message(...values) : message;
}

/** An error for a person: the service's own words are English and exact; other languages go by the error's code. */
export function sayError({ code, message }) {
  const known = messages[language].errors[code];
  return known ?? message ?? say("unknownError");
}

/** Sentences one after the other; Chinese needs no space between them. */
export const joinSentences = (sentences) => sentences.filter(Boolean).join(language === "zh" ? "" : " ");

/** Put the words into the page's fixed parts. */
export function translatePage() {
  document.documentElement.lang = language === "zh" ? "zh-Hans" : language;
  for (const each of document.querySelectorAll("[data-text]")) each.textContent = say(each.dataset.text);
  for (const each of document.querySelectorAll("[data-label]")) each.setAttribute("aria-label", say(each.dataset.label));
  for (const each of document.querySelectorAll("[data-hint]")) each.placeholder = say(each.dataset.hint);
}
