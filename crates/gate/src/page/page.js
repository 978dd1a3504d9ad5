// Asks how things stand when the page is told to, and shows it. In the JavaScript of 2012, so that old telephones
// take part; without any, the page reloads itself.
(function () {
  'use strict';
  var root = document.getElementById('turn');
  var told = '';
  var toldAt = Date.now();
  var failures = 0;
  var asking = false;
  var due = 0;
  var timer;

  function data(name) { return root.getAttribute('data-' + name); }
  function text(id) { return document.getElementById(id).textContent; }
  function say(id, words) {
    var part = document.getElementById(id);
    part.hidden = !words;
    if (part.textContent !== words) part.textContent = words || '';
  }
  function later(seconds) {
    clearTimeout(timer);
    due = Date.now() + seconds * 1000;
    timer = setTimeout(ask, seconds * 1000);
  }
  function standing() { return [text('place'), text('wait'), text('left')].join(' '); }

  // For whoever hears the page: what has changed, and at most once a minute; a place that moves every few seconds
  // would be all that they hear.
  function tell(words, atOnce) {
    var now = Date.now();
    if (words === told || (!atOnce && now - toldAt < 60000)) return;
    told = words;
    toldAt = now;
    say('news', words);
  }

  function show(turn) {
    var words = turn.page;
    var parts = ['title', 'what', 'said', 'place', 'wait', 'left', 'asked'];
    for (var i = 0; i < parts.length; i += 1) say(parts[i], words[parts[i]]);
    say('failed', '');
    root.className = '';
    document.title = words.tab;
  }

  function answered(turn) {
    var hadFailed = failures > 1;
    failures = 0;
    if (turn.state !== data('state')) {
      // In, or something that the page as it is can't show. Should the browser not get there, it asks again.
      later(20);
      if (data('to') !== null && (turn.state === 'seated' || turn.state === 'ending')) {
        show(turn);
        tell(turn.page.title, true);
        location.replace(data('to'));
      } else {
        location.reload();
      }
      return;
    }
    show(turn);
    tell(standing(), hadFailed);
    // The end of a session is not to come as a surprise.
    var pause = turn.ask_in_s || 60;
    if (turn.left_s !== null) pause = Math.min(pause, Math.max(5, turn.left_s / 2));
    later(Math.max(1, pause));
  }

  // Pauses grow, and differ from one browser to the next: all of those who were cut off at once would else be back
  // at once.
  function failed(request) {
    var asked = 0;
    try { asked = Number(request.getResponseHeader('Retry-After')) || 0; } catch (none) { asked = 0; }
    failures += 1;
    var pause = Math.min(40, 5 * Math.pow(2, failures - 1));
    later(Math.max(pause, Math.min(asked, 60)) * (0.75 + Math.random() / 2));
    say('failed', data('failed'));
    root.className = 'failing';
    if (failures === 2) tell(data('failed'), true);
  }

  function ask() {
    if (asking) return;
    asking = true;
    clearTimeout(timer);
    var request = new XMLHttpRequest();
    request.open('GET', data('ask'), true);
    request.setRequestHeader('Accept', 'application/json');
    request.timeout = 20000;
    request.onreadystatechange = function () {
      if (request.readyState !== 4) return;
      asking = false;
      var turn = null;
      try { turn = JSON.parse(request.responseText); } catch (none) { turn = null; }
      if (turn && turn.state && turn.page) answered(turn); else failed(request);
    };
    request.send();
  }

  // A telephone that was asleep, or out of reach, asks as soon as it is not.
  function awake() { if (!document.hidden && Date.now() >= due) ask(); }

  if (!window.XMLHttpRequest || !window.JSON) {
    setTimeout(function () { location.reload(); }, data('in') * 1000);
    return;
  }
  told = standing();
  document.addEventListener('visibilitychange', awake, false);
  window.addEventListener('online', function () { if (failures > 0) ask(); }, false);
  later(Number(data('in')));
}());
