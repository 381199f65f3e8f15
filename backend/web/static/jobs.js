// Updates the list of jobs while the page is visible. The server sends its own escaped HTML; nothing
// is turned into HTML here.
const list = document.getElementById("list");
const places = { running: document.getElementById("now"), table: document.getElementById("table") };

async function update() {
  let pause = 5000;
  try {
    const answer = await fetch(list.dataset.live, { cache: "no-store" });
    if (!answer.ok) throw new Error(String(answer.status));
    const jobs = await answer.json();
    for (const [name, place] of Object.entries(places)) {
      // Keep a link that has the keyboard focus.
      if (!place.contains(document.activeElement)) place.innerHTML = jobs[name];
    }
    if (jobs.busy) pause = 2000;
  } catch {
    // the server is away or restarts
  }
  setTimeout(update, document.hidden ? 10000 : pause);
}

setTimeout(update, 2000);
