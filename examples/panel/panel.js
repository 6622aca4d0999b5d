// Follows the invoices; without this file the page has a link that does.
"use strict";

const ASK_MILLISECONDS = 1000;

async function follow(part) {
  try {
    const answer = await fetch("/factures");
    const html = await answer.text();
    if (answer.ok && html !== follow.shown) {
      follow.shown = html;
      part.innerHTML = html;
    }
  } catch {
    // The demo has ended, or is starting: the next turn tells.
  }
  setTimeout(follow, ASK_MILLISECONDS, part);
}

follow(document.getElementById("factures"));
