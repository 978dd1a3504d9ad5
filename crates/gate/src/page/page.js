// Asks how things stand when the page is told to, and shows it. In the JavaScript of 2012, so that old telephones
// take part; without any, the page reloads itself.
(function () {
  'use strict';
  var root = document.getElementById('turn');
  if (!root || !window.XMLHttpRequest || !window.JSON) { location.reload(); return; }
  var url = root.getAttribute('data-ask');
  var failures = 0;
  var shown = '';

  function part(id) { return document.getElementById(id); }
  function say(id, text) {
    var element = part(id);
    if (!element) return;
    element.hidden = !text;
    if (element.textContent !== text) element.textContent = text || '';
  }
  function later(seconds) { setTimeout(ask, Math.max(1, seconds) * 1000); }

  function show(turn) {
    say('title', turn.title);
    say('what', turn.what);
    say('place', turn.place);
    say('wait', turn.wait);
    say('asked', turn.asked);
    say('failed', '');
    document.title = turn.tab;
    // Read out what has changed for whoever can't see it, and no more often than that.
    var news = [turn.title, turn.place, turn.wait].join(' ');
    if (news !== shown) { shown = news; say('news', news); }
  }

  function failed() {
    failures += 1;
    var seconds = Math.min(60, 5 * Math.pow(2, failures - 1)) * (0.75 + Math.random() / 2);
    say('failed', root.getAttribute('data-failed'));
    later(seconds);
  }

  function ask() {
    var request = new XMLHttpRequest();
    request.open('GET', url, true);
    request.setRequestHeader('Accept', 'application/json');
    request.timeout = 20000;
    request.onreadystatechange = function () {
      if (request.readyState !== 4) return;
      var turn = null;
      try { turn = JSON.parse(request.responseText); } catch (ignored) { turn = null; }
      if (!turn || !turn.state) { failed(); return; }
      failures = 0;
      // In, or something that the page as it is can't show.
      if (turn.state !== root.getAttribute('data-state')) { location.reload(); return; }
      show(turn.page);
      later(turn.ask_in_s);
    };
    request.send();
  }

  later(Number(root.getAttribute('data-in')));
}());
