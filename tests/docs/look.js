// What looks wrong in the page that the browser has open, as a list of sentences.
(() => {
  const wrong = [];
  const shown = (element) => (element.textContent || element.src || element.tagName).trim().replace(/\s+/g, " ").slice(0, 70);
  const excess = (element) => element.scrollWidth - element.clientWidth;
  const isWide = innerWidth >= 1000;

  if (document.documentElement.scrollWidth > innerWidth) wrong.push(`the page is ${document.documentElement.scrollWidth} pixels wide`);
  for (const image of document.images) {
    if (image.naturalWidth === 0) wrong.push(`a broken image: ${image.src}`);
    if (!image.alt) wrong.push(`an image without a description: ${image.src}`);
  }
  // On a narrow screen, code and tables may be scrolled.
  if (isWide) {
    for (const code of document.querySelectorAll("pre > code")) if (excess(code) > 1) wrong.push(`code ${excess(code)} pixels too wide: ${shown(code)}`);
    for (const table of document.querySelectorAll(".md-typeset__scrollwrap")) {
      if (excess(table) > 1) wrong.push(`a table ${excess(table)} pixels too wide: ${shown(table)}`);
    }
  }
  const scrolls = (element) => element && (["auto", "scroll"].includes(getComputedStyle(element).overflowX) || scrolls(element.parentElement));
  for (const element of document.querySelectorAll(".md-content *")) {
    const right = element.getBoundingClientRect().right;
    if (right > innerWidth + 1 && !scrolls(element)) wrong.push(`cut off at the right: ${element.tagName} ${shown(element)}`);
  }
  // A short word of inline code is on one line.
  for (const code of document.querySelectorAll(".md-content :not(pre) > code")) {
    const walk = document.createTreeWalker(code, NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) {
      for (const word of walk.currentNode.data.matchAll(/[^\s]+/g)) {
        const range = document.createRange();
        range.setStart(walk.currentNode, word.index);
        range.setEnd(walk.currentNode, word.index + word[0].length);
        const lines = new Set([...range.getClientRects()].map((line) => Math.round(line.top)));
        if (lines.size > 1 && word[0].length <= 20) wrong.push(`broken in the middle: ${word[0]}`);
      }
    }
  }
  return wrong;
})();
