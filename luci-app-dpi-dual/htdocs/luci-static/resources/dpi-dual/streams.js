'use strict';
'require baseclass';
'require dpi-dual.charts as charts';
'require dpi-dual.tables as tables';

/*
 * The four streams as cards, made from an answer of dpi.status overview.
 *
 *   create() -> { node, update(answer, series) }     series: see curve()
 *   curve(options) -> { take(answer), range, points, span() }: the time series, put together from the polls
 *   badge(state) -> the state of a stream in a word
 */

const STATES = {
	running: [ _('running'), 'ok' ],
	waiting: [ _('waiting'), 'warning' ],
	off: [ _('switched off'), '' ],
	down: [ _('stopped'), 'error' ]
};
const badge = state => tables.badge(...(STATES[state] ?? [ String(state), '' ]));

const CROWDSEC = {
	connected: _('connected'),
	not_set_up: _('not set up'),
	off: _('off'),
	unknown: '–'
};

/* What keeps a stream that is switched on from running, and what to do about it. */
const waiting = {
	mitm: () => _('No inspected traffic yet: mitmproxy with the add-on is not connected. Health says what is missing.'),
	tap: tap => tap.interface_up ? _('The collector starts.') : _('The interface %s is not up: start the mirror, or choose another interface in Settings.').format(tap.interface),
	lan: () => _('Nobody tells of flows: neither netifyd nor the kernel’s connection table can be read.'),
	correlation: () => _('The correlator starts.')
};

const RULES = { crs: 'OWASP CRS', builtin: _('built in') };
const SOURCES = { netifyd: 'netifyd (nDPI)', ndpid: 'nDPId (nDPI)', conntrack: _('conntrack (no DPI)'), none: _('nobody') };

/* name → [ heading, what it does, big figure(answer, series), what that is, points of the curve, rows ] */
const CARDS = {
	mitm: {
		title: _('Stream 1 · MITM'), about: _('published services, inspected'),
		unit: _('requests/min'), big: (answer, last) => last ? tables.decimal(last.requests, 0) : '–',
		curve: points => points.map(point => [ point[0], point[3] ]),
		format: value => tables.decimal(value, 1),
		rows: mitm => [
			[ _('Requests'), tables.count(mitm.requests_total) ],
			[ _('Threats'), tables.count(mitm.threats_detected) ],
			[ _('Blocked'), mitm.blocking || mitm.blocked_count ? tables.count(mitm.blocked_count) : _('blocking is off') ],
			[ _('Buffer'), `${tables.count(mitm.buffer_entries)} / ${tables.count(mitm.buffer_size)}` ],
			[ _('Deep rules'), RULES[mitm.tier] ?? (mitm.tier || '–') ]
		]
	},
	tap: {
		title: _('Stream 2 · TAP'), about: _('WAN, mirrored'),
		unit: _('WAN traffic'), big: (answer, last) => last ? tables.rate(last.tap) : '–',
		curve: points => points.map(point => [ point[0], point[1] ]), format: tables.rate,
		rows: tap => [
			[ _('Flows, last minute'), tables.count(tap.flows_1min) ],
			[ _('Live flows'), tables.count(tap.flows_live) ],
			[ _('Mirrored'), tables.bytes(tap.rx_bytes) ],
			[ _('Interface'), tap.interface ],
			[ _('Classified by'), SOURCES[tap.source] ?? tap.source ]
		]
	},
	lan: {
		title: _('LAN flows'), about: _('clients, passive'),
		unit: _('LAN traffic'), big: answer => answer.lan.state == 'running' ? tables.rate(answer.lan.rx_rate_bps + answer.lan.tx_rate_bps) : '–',
		curve: points => points.map(point => [ point[0], point[2] ]), format: tables.rate,
		rows: lan => [
			[ _('Active clients'), tables.count(lan.active_clients) ],
			[ _('Receiving'), lan.state == 'running' ? tables.rate(lan.tx_rate_bps) : '–' ],
			[ _('Sending'), lan.state == 'running' ? tables.rate(lan.rx_rate_bps) : '–' ],
			[ _('Destinations'), tables.count(lan.unique_destinations) ],
			[ _('Counted by'), SOURCES[lan.source] ?? lan.source ]
		]
	},
	correlation: {
		title: _('Correlation'), about: _('both streams, one picture'),
		unit: _('open threats'), big: answer => tables.count(answer.correlation.open),
		curve: (points, answer) => (answer.scorecard?.trend ?? []).map((events, i) => [ answer.scorecard.trend_at + i * answer.scorecard.step_s, events ]),
		format: tables.count,
		rows: correlation => [
			[ _('Threats correlated'), tables.count(correlation.threats_correlated) ],
			[ _('Banned'), tables.count(correlation.banned) ],
			[ _('Automatic bans'), correlation.auto_ban ? _('on') : _('off') ],
			[ 'CrowdSec', CROWDSEC[correlation.crowdsec] ?? correlation.crowdsec ],
			[ _('Decisions followed'), tables.count(correlation.decisions) ]
		]
	}
};

const write = (node, text) => { if (node.textContent !== text) node.textContent = text; };

const card = name => {
	const shape = CARDS[name];
	const big = E('span', { 'class': 'dpi-big' });
	const curve = charts.sparkline({ title: `${shape.title}: ${name == 'correlation' ? _('events by the hour') : shape.unit}`, format: shape.format, width: 110 });
	const state = E('span', {});
	const why = E('p', { 'class': 'dpi-why', 'hidden': '' });
	const rows = E('dl', { 'class': 'dpi-figures' });
	const node = E('section', { 'class': 'dpi-card', 'data-stream': name, 'aria-label': shape.title }, [
		E('div', { 'class': 'dpi-head' }, [ E('h3', {}, [ shape.title ]), state ]),
		E('p', { 'class': 'dpi-about' }, [ shape.about ]),
		E('div', { 'class': 'dpi-headline' }, [ E('div', {}, [ big, E('span', { 'class': 'dpi-unit' }, [ shape.unit ]) ]), curve.node ]),
		rows, why
	]);
	let shown_state = null;

	return {
		node: node,
		update: (answer, series) => {
			const figures = answer[name];
			const off = figures.state == 'off';
			if (shown_state != figures.state) {
				state.replaceChildren(badge(figures.state));
				node.setAttribute('data-state', figures.state);
				shown_state = figures.state;
			}
			write(big, off ? '–' : shape.big(answer, figures.state == 'running' ? series.last() : null));
			curve.update(shape.curve(series.points, answer));
			shape.rows(figures).forEach(([ label, value ], i) => {
				if (!rows.children[2 * i]) {
					rows.appendChild(E('dt', {}, [ label ]));
					rows.appendChild(E('dd', {}));
				}
				write(rows.children[2 * i + 1], value);
			});
			why.hidden = figures.state != 'waiting' && !off && !figures.offload;
			if (!why.hidden)
				write(why, off ? _('Switched off in Settings.') : figures.state == 'waiting' ? waiting[name](figures)
					: _('Flow offload hides a part of the traffic: the true figures are higher.'));
		}
	};
};

const create = () => {
	const cards = Object.keys(CARDS).map(card);
	return {
		node: E('div', { 'class': 'dpi-cards' }, cards.map(entry => entry.node)),
		update: (answer, series) => cards.forEach(entry => entry.update(answer, series))
	};
};

const LENGTH_S = { '10m': 600, '24h': 86400 };

/*
 * points: [ at, WAN bit/s, LAN bit/s, requests a minute, threats a minute ]. Sums over a step are turned into rates; the
 * step that is not over yet counts only for the time that has been measured in it.
 */
const curve = () => {
	const series = {
		range: '10m',
		interval_s: 10,
		points: [],
		until: 0,
		/* What to ask for next: the last known point again, since its step may have grown. */
		question: () => ({ range: series.range, ...(series.points.length ? { since: series.points[series.points.length - 1][0] } : {}) }),
		choose: range => { series.range = range; series.points = []; series.until = 0; },
		take: answer => {
			const found = answer.series;
			if (found?.range != series.range || answer.engine == 'down')
				return;
			const column = name => found.columns.indexOf(name);
			const [ tap, lan, requests, threats ] = [ 'tap_bytes', 'lan_bytes', 'mitm_requests', 'mitm_threats' ].map(column);
			const fresh = found.points.map(point => {
				const seconds = Math.min(found.interval_s, Math.max(found.until_at - point[0], 1));
				return [ point[0], 8 * point[tap] / seconds, 8 * point[lan] / seconds, 60 * point[requests] / seconds, 60 * point[threats] / seconds ];
			});
			const from = fresh.length ? fresh[0][0] : Infinity;
			const oldest = answer.now_at - LENGTH_S[series.range] - found.interval_s;
			series.points = [ ...series.points.filter(point => point[0] < from), ...fresh ].filter(point => point[0] >= oldest);
			series.interval_s = found.interval_s;
			series.until = answer.now_at;
		},
		/* Rates of the newest step, if it is not too old to be called present. */
		last: () => {
			const point = series.points[series.points.length - 1];
			return point && point[0] >= series.until - 3 * series.interval_s ? { tap: point[1], lan: point[2], requests: point[3], threats: point[4] } : null;
		},
		span: () => ({ since: series.until - LENGTH_S[series.range], until: series.until })
	};
	return series;
};

return baseclass.extend({ create: create, curve: curve, badge: badge });
