// A running job's page: asks each second how far it is, and puts the answer in place. What the
// server sends is its own HTML with everything escaped; nothing is made into HTML here.
const head = document.getElementById("head");
const lines = document.getElementById("lines");
const charts = document.getElementById("charts");
const spoken = document.getElementById("spoken");
let last = head.dataset.last;
let phase = "";

async function look() {
  let pause = 1000;
  try {
    const answer = await fetch(`${head.dataset.live}?after=${last}`, { cache: "no-store" });
    if (!answer.ok) throw new Error(String(answer.status));
    const told = await answer.json();
    head.innerHTML = told.head;
    const atEnd = lines.scrollTop + lines.clientHeight >= lines.scrollHeight - 8;
    lines.insertAdjacentHTML("beforeend", told.lines);
    if (atEnd) lines.scrollTop = lines.scrollHeight;
    // Somebody may be reading the table below a chart.
    if (told.curves && charts && !charts.querySelector("details[open]")) charts.innerHTML = told.curves;
    last = told.last;
    const state = head.querySelector(".now")?.textContent.trim() ?? "";
    const now = (head.querySelector("progress + p")?.textContent ?? state).split("·")[1] ?? state;
    // A screen reader hears of each phase, not of each second.
    if (now !== phase) spoken.textContent = phase = now;
    if (told.ended) { location.reload(); return; }
  } catch {
    pause = 5000; // the server is away or starts anew
  }
  setTimeout(look, document.hidden ? 5000 : pause);
}

lines.scrollTop = lines.scrollHeight;
setTimeout(look, 1000);
