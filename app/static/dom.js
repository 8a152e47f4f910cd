// Elements without markup: text from documents and models is only ever set as text.

export const byId = (id) => document.getElementById(id);

/** A new element; `properties` are assigned, `children` are elements or strings. */
export function element(tag, properties = {}, ...children) {
  const created = Object.assign(document.createElement(tag), properties);
  created.append(...children);
  return created;
}

/** An element that holds words of a stranger: its own direction, and Chinese glyphs where it is Chinese. */
export function quoted(tag, text, className = "") {
  return element(tag, { className, textContent: text, dir: "auto", lang: languageOf(text) });
}

/** Han characters without kana are Chinese; of other languages nothing is said. */
export function languageOf(text) {
  const isChinese = /\p{Script=Han}/u.test(text) && !/[\p{Script=Hiragana}\p{Script=Katakana}]/u.test(text);
  return isChinese ? "zh-Hans" : "";
}

/** Show an optional line of text, or hide its element when there is none. */
export function setLine(target, text) {
  target.textContent = text ?? "";
  target.hidden = !text;
}

/** Open a dialog; resolves to whether it was confirmed. */
export function confirmed(dialog) {
  dialog.returnValue = "";
  // Not a submit button: Enter in a field would press the first of those.
  dialog.querySelector(".cancel").onclick = () => dialog.close();
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "ok"), { once: true });
  });
}
