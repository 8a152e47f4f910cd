// The service counts Unicode code points, JavaScript UTF-16 units: an emoji or a rare Han character is one there, two here.

/** The UTF-16 offset of the code point at `target`, counted on from a pair that is known already. */
export function utf16Offset(text, target, from = { codePoints: 0, units: 0 }) {
  let units = from.units;
  for (let counted = from.codePoints; counted < target && units < text.length; counted += 1) {
    units += text.codePointAt(units) > 0xffff ? 2 : 1;
  }
  return units;
}

/** The text before, within and behind `start`–`end`, both in code points. */
export function splitAround(text, start, end) {
  const first = utf16Offset(text, start);
  const last = utf16Offset(text, end, { codePoints: start, units: first });
  return { before: text.slice(0, first), within: text.slice(first, last), after: text.slice(last) };
}
