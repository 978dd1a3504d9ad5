// For a portal's own pages: says when the session ends soon or is over, in one element that can be put away.
// Its classes begin with `preau-`.
(function () {
  'use strict';
  if (!window.XMLHttpRequest || !window.JSON || window.preauSession) return;
  window.preauSession = true;
  var banner = null;
  var shown = '';
  var putAway = '';
  var wasIn = false;
  var failures = 0;
  var due = 0;
  var asking = false;
  var timer;

  function later(seconds) {
    clearTimeout(timer);
    due = Date.now() + seconds * 1000;
    timer = setTimeout(ask, seconds * 1000);
  }
  // Styled by the object model: a portal may allow no style that is written in its pages.
  function make(name, css, words) {
    var element = document.createElement(name);
    element.style.cssText = css;
    element.textContent = words || '';
    return element;
  }
  function clear() {
    if (banner && banner.parentNode) banner.parentNode.removeChild(banner);
    banner = null;
    shown = '';
  }
  function show(state, words) {
    if (putAway === state) return;
    if (!banner) {
      banner = make('div', 'all:initial;position:fixed;left:0;right:0;bottom:0;z-index:2147483647;' +
        'box-sizing:border-box;padding:6px 12px;background:#16213a;color:#fff;border-top:3px solid #a9c3ff;' +
        'font:16px/1.5 system-ui,sans-serif;text-align:center');
      banner.className = 'preau-banner';
      banner.setAttribute('role', 'status');
      banner.lang = words.lang;
      document.body.appendChild(banner);
    }
    // Else the time alone, so that nobody loses the focus.
    if (shown !== state) {
      shown = state;
      banner.textContent = '';
      var title = make('strong', 'font-weight:bold', words.title);
      var left = make('span', 'margin:0 8px');
      left.className = 'preau-left';
      left.setAttribute('aria-live', 'off');
      var more = make('a', 'display:inline-block;padding:10px 8px;color:#a9c3ff', words.more);
      more.className = 'preau-more';
      more.href = '/preau/session?to=' + encodeURIComponent(location.pathname + location.search);
      var close = make('button', 'min-height:44px;min-width:44px;margin-left:8px;padding:8px 12px;cursor:pointer;' +
        'border:1px solid #a9c3ff;border-radius:6px;background:transparent;color:#fff;font:inherit', words.close);
      close.className = 'preau-close';
      close.type = 'button';
      close.onclick = function () { putAway = state; clear(); };
      [title, left, more, close].forEach(function (part) { banner.appendChild(part); });
    }
    banner.querySelector('.preau-left').textContent = words.left;
  }

  function answered(turn) {
    var isIn = turn.state === 'seated' || turn.state === 'ending';
    var isGone = turn.state === 'over' || (turn.state === 'lost' && wasIn);
    wasIn = wasIn || isIn;
    failures = 0;
    if (turn.page && (turn.state === 'ending' || isGone)) show(turn.state, turn.page);
    else { clear(); putAway = ''; }
    // Over is over; whoever has no session needs no banner.
    if (isIn) later(Math.max(5, Math.min(turn.ask_in_s || 60, (turn.left_s || 120) / 2)));
    else if (!isGone) later(60);
  }

  function ask() {
    if (asking) return;
    asking = true;
    var request = new XMLHttpRequest();
    request.open('GET', '/preau/turn?look=1&lang=' + encodeURIComponent(document.documentElement.lang || ''), true);
    request.timeout = 20000;
    request.onreadystatechange = function () {
      if (request.readyState !== 4) return;
      asking = false;
      var turn = null;
      try { turn = JSON.parse(request.responseText); } catch (none) { turn = null; }
      if (turn && turn.state) { answered(turn); return; }
      failures += 1;
      later(Math.min(300, 30 * failures) * (0.75 + Math.random() / 2));
    };
    request.send();
  }

  document.addEventListener('visibilitychange', function () {
    if (!document.hidden && due && Date.now() >= due) ask();
  }, false);
  later(5 + Math.random() * 10);
}());
