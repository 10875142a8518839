// Details of an answer open on click by themselves; here they open under the mouse too, and stand beside their picture.
const opener = (details) => document.querySelector(`[popovertarget="${details.id}"]`);
const within = (low, value, high) => Math.max(low, Math.min(value, high));

function place(details) {
  const picture = opener(details).getBoundingClientRect();
  details.classList.add("placed");
  const { offsetWidth: width, offsetHeight: height } = details;
  const { clientWidth: across, clientHeight: down } = document.documentElement; // without scroll bars
  const below = picture.bottom + 8 + height <= down;
  details.style.left = `${within(8, picture.left + picture.width / 2 - width / 2, across - width - 8)}px`;
  details.style.top = `${below ? picture.bottom + 8 : Math.max(8, picture.top - height - 8)}px`;
}

for (const button of document.querySelectorAll("button[popovertarget]")) {
  const details = document.getElementById(button.getAttribute("popovertarget"));
  if (!details.showPopover) break;
  let kept = false;
  details.addEventListener("toggle", (event) => (event.newState === "open" ? place(details) : (kept = false)));
  button.addEventListener("click", () => (kept = true));
  button.addEventListener("pointerenter", (event) => {
    if (event.pointerType !== "mouse") return;
    details.showPopover();
    place(details);
  });
  button.addEventListener("pointerleave", () => kept || details.hidePopover());
}
addEventListener("scroll", () => document.querySelector(":popover-open")?.hidePopover(), { passive: true });
