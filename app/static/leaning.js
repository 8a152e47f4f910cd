// Which quote a sentence leans on. An answer lists its citations in the order of its sentences and their markers, but a
// quote only once: where several sentences share one, what they have in common with it decides.

/** For each sentence (`{ markers, words }`) a map from its markers to their citations. */
export function matchCitations(sentences, citations) {
  const matches = sentences.map(() => new Map());
  for (const marker of new Set(citations.map((citation) => citation.marker))) {
    const listed = citations.filter((citation) => citation.marker === marker);
    const citing = matches
      .map((match, index) => ({ match, ...sentences[index] }))
      .filter(({ markers }) => markers.includes(marker));
    let next = 0;
    citing.forEach(({ match, words }, index) => {
      const [unused, unmatched] = [listed.length - next, citing.length - index];
      const known = closest(listed.slice(0, next), words);
      const isNew = unused === unmatched || !known || (unused > 0 && shared(listed[next], words) >= shared(known, words));
      match.set(marker, isNew ? listed[next] : known);
      if (isNew) next += 1;
    });
  }
  return matches;
}

function closest(citations, words) {
  return citations.reduce((best, each) => (best && shared(best, words) >= shared(each, words) ? best : each), null);
}

/** How many pairs of neighbouring characters they have in common: this works for Chinese as for English. */
function shared({ quote }, words) {
  const wanted = characterPairs(words);
  return [...characterPairs(quote)].filter((pair) => wanted.has(pair)).length;
}

function characterPairs(text) {
  const characters = Array.from(text.toLowerCase());
  return new Set(characters.slice(1).map((character, index) => characters[index] + character));
}
