"use strict";

/* Sorts and filters without loading the page again. What is selected is in the page's address: the
   server sorts and filters, and live.js fetches and shows what the address selects. */

const TYPING_MILLISECONDS = 200;

let typing = 0;

function searchBox() {
  return document.getElementById("search");
}

/* Shows the search box, which only works with this script. */
function reveal() {
  if (searchBox()) searchBox().parentElement.hidden = false;
}

/* Shows another selection: `change` is a method of `history`. */
function select(url, change) {
  clearTimeout(typing);
  typing = 0;
  if (url === location.href) return;
  change.call(history, null, "", url);
  refresh();
}

/* Returns an address with the text in the search box. */
function withSearch(address) {
  const url = new URL(address);
  const text = searchBox().value.trim();
  if (text) url.searchParams.set("search", text);
  else url.searchParams.delete("search");
  return url.href;
}

function showSearched() {
  const box = searchBox();
  if (box) box.value = new URLSearchParams(location.search).get("search") ?? "";
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-view]");
  if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  select(typing ? withSearch(link.href) : link.href, history.pushState);
  showSearched();
});

document.addEventListener("input", (event) => {
  if (event.target !== searchBox()) return;
  clearTimeout(typing);
  typing = setTimeout(() => select(withSearch(location.href), history.replaceState), TYPING_MILLISECONDS);
});

addEventListener("popstate", () => {
  showSearched();
  refresh();
});

document.addEventListener("refreshed", reveal);
reveal();
