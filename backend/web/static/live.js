// Updates the page of a running job every second. The server sends its own escaped HTML; nothing is
// turned into HTML here.
const head = document.getElementById("head");
const lines = document.getElementById("lines");
const charts = document.getElementById("charts");
const spoken = document.getElementById("spoken");
let last = head.dataset.last;
let phase = "";

async function update() {
  let pause = 1000;
  try {
    const answer = await fetch(`${head.dataset.live}?after=${last}`, { cache: "no-store" });
    if (!answer.ok) throw new Error(String(answer.status));
    const job = await answer.json();
    head.innerHTML = job.head;
    const atEnd = lines.scrollTop + lines.clientHeight >= lines.scrollHeight - 8;
    lines.insertAdjacentHTML("beforeend", job.lines);
    if (atEnd) lines.scrollTop = lines.scrollHeight;
    // Keep an open table below a chart.
    if (job.curves && charts && !charts.querySelector("details[open]")) charts.innerHTML = job.curves;
    last = job.last;
    const state = head.querySelector(".now")?.textContent.trim() ?? "";
    const now = (head.querySelector("progress + p")?.textContent ?? state).split("·")[1] ?? state;
    // Screen readers announce each phase, not each second.
    if (now !== phase) spoken.textContent = phase = now;
    if (job.ended) { location.reload(); return; }
  } catch {
    pause = 5000; // the server is away or restarts
  }
  setTimeout(update, document.hidden ? 5000 : pause);
}

lines.scrollTop = lines.scrollHeight;
setTimeout(update, 1000);
