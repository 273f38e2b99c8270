// @ts-check
// What scrolls sideways is a tab stop, so that the keyboard can scroll it. Without this script all listings are, also
// those that fit.

const resized = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    if (target.scrollWidth > target.clientWidth) target.setAttribute("tabindex", "0");
    else target.removeAttribute("tabindex");
  }
});

for (const listing of document.querySelectorAll(".code pre")) resized.observe(listing);
