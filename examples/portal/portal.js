// What pages do by themselves where scripts run. Without this file everything is there, at one more click.
"use strict";

const OFFER_MILLISECONDS = 5000; // what a family is given to see a pop-up before the button is offered
const ASK_MILLISECONDS = 2000; // how often a page that waits asks for news
const POPUP_FLAG = "espace-famille: fenêtre de paiement";
const SEPARATOR = "\u202f"; // as the server writes amounts

const first = (selector, within = document) => within.querySelector(selector);

// The total of what is ticked, as it is ticked.
function addUp(form) {
  const boxes = [...form.querySelectorAll("[data-cents]")];
  const sum = first("[data-sum]", form);
  const show = () => {
    const cents = boxes.filter((box) => box.checked).reduce((total, box) => total + Number(box.dataset.cents), 0);
    const whole = String(Math.floor(cents / 100)).replace(/\B(?=(\d{3})+$)/g, SEPARATOR);
    const written = `${whole},${String(cents % 100).padStart(2, "0")}\u00a0€`;
    if (sum.textContent !== written) sum.textContent = written;
  };
  first("[data-needless]", form).hidden = true;
  form.addEventListener("change", show);
  window.addEventListener("pageshow", show); // the browser's arrow may bring ticks back
  show();
}

// The gateway's page in a window of its own: it opens by itself once, and the button leads to that same window.
function prepare(page) {
  const button = first("[data-depart]", page);
  const said = first("[data-said]", page);
  const opened = `espace-famille: ${button.dataset.depart}`;
  let popup = null;

  const open = () => {
    if (popup && !popup.closed) {
      popup.focus();
      return true;
    }
    sessionStorage.setItem(POPUP_FLAG, "yes"); // the new window begins with a copy of it
    popup = window.open(button.href, button.dataset.depart, "popup,width=560,height=760");
    sessionStorage.removeItem(POPUP_FLAG);
    if (popup) popup.opener = null; // what opens there cannot lead this page elsewhere
    return popup !== null;
  };
  const offer = (words) => {
    button.hidden = false;
    said.textContent = words;
  };

  button.addEventListener("click", (event) => {
    if (open()) event.preventDefault(); // else the link itself is followed, in this window
  });
  if (sessionStorage.getItem(opened)) {
    offer("La page de paiement a déjà été ouverte. Vous pouvez y retourner.");
    return;
  }
  sessionStorage.setItem(opened, "yes");
  button.hidden = true;
  said.textContent = "La page de paiement s’ouvre dans une nouvelle fenêtre…";
  open();
  setTimeout(
    () => offer("Si la fenêtre de paiement ne s’est pas ouverte, utilisez ce bouton : c’est le même paiement."),
    OFFER_MILLISECONDS,
  );
}

// The time left, by the server's clock and the browser's count of seconds.
function countDown(line) {
  const until = performance.now() + Number(line.dataset.countdown) * 1000;
  const timer = first("[role=timer]", line);
  const tick = () => {
    const left = Math.max(0, Math.ceil((until - performance.now()) / 1000));
    const seconds = `${left % 60}\u00a0s`;
    timer.textContent = left < 60 ? seconds : `${Math.floor(left / 60)}\u00a0min ${seconds}`;
    if (left > 0) setTimeout(tick, 500);
  };
  line.hidden = false;
  tick();
}

// Ask for news, and go where they are told as soon as there are some.
function watch(place) {
  const ask = async () => {
    try {
      const answer = await fetch(place.dataset.watch, { redirect: "error" });
      if (answer.ok && (await answer.json()).state !== place.dataset.state) {
        location.replace(place.dataset.leads);
        return;
      }
    } catch {
      // no answer is no news
    }
    setTimeout(ask, ASK_MILLISECONDS);
  };
  setTimeout(ask, ASK_MILLISECONDS);
}

// In the payment's own window, once back from the bank: a way to close it.
function offerToClose(button) {
  if (!sessionStorage.getItem(POPUP_FLAG)) return;
  button.hidden = false;
  button.addEventListener("click", () => window.close());
}

document.querySelectorAll("[data-total]").forEach(addUp);
document.querySelectorAll("[data-preparation]").forEach(prepare);
document.querySelectorAll("[data-countdown]").forEach(countDown);
document.querySelectorAll("[data-watch]").forEach(watch);
document.querySelectorAll("[data-close]").forEach(offerToClose);
document.querySelectorAll("form[data-leave]").forEach((form) => form.submit());
first("[aria-invalid]")?.focus();
