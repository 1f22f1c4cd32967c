'use strict';
'require view';
'require poll';
'require dpi-dual.charts as charts';
'require dpi-dual.lookup as lookup';
'require dpi-dual.place as place';
'require dpi-dual.rpc as dpi';
'require dpi-dual.severity as severity';
'require dpi-dual.streams as streams';
'require dpi-dual.tables as tables';

/* The suite at a glance. One call a poll answers all of it; what changed is changed in place. */

const POLL_S = 5;
const PATH = 'admin/secubox/dpi-dual';
const CROWDSEC = { none: '–', alerted: _('reported'), pending: _('pending'), banned: _('banned'), unbanned: _('unbanned') };
const STATES = { new: [ _('new'), 'warning' ], acknowledged: [ _('seen'), '' ], muted: [ _('muted'), '' ], crowdsec_ban: [ _('banned'), 'error' ] };
const SEVERITIES = { error: _('Error'), warning: _('Warning'), info: _('Remark') };

const per_minute = value => tables.decimal(value, value < 10 && value % 1 ? 1 : 0);
const write = (node, text) => { if (node.textContent !== text) node.textContent = text; };

/* Buttons of which one is on. */
const choice = (label, entries, chosen, changed) => {
	const buttons = Object.keys(entries).map(key => E('button', {
		'type': 'button', 'class': 'btn cbi-button', 'aria-pressed': key == chosen ? 'true' : 'false',
		'click': ev => {
			buttons.forEach(button => button.setAttribute('aria-pressed', button == ev.currentTarget ? 'true' : 'false'));
			changed(key);
		}
	}, [ entries[key] ]));
	return E('div', { 'class': 'dpi-choice', 'role': 'group', 'aria-label': label }, buttons);
};

const section = (title, tools, children, name) => E('section', { 'class': 'dpi-section', 'data-part': name, 'aria-label': title }, [
	E('div', { 'class': 'dpi-head' }, [ E('h3', {}, [ title ]), tools ].filter(Boolean)), ...children
]);

/* What is wrong, as sentences; only exchanged when it is other than before, so that nobody reading loses his place. */
const troubles = () => {
	const node = E('div', { 'class': 'dpi-troubles', 'aria-live': 'polite' });
	const remarks = E('details', { 'class': 'dpi-remarks' });
	let shown = '';
	const entry = problem => tables.notice(problem.severity, `${SEVERITIES[problem.severity]}: ${problem.message}`,
		problem.hint ? [ E('p', {}, [ problem.hint ]) ] : []);
	return {
		node: node,
		update: answer => {
			const now = JSON.stringify([ answer.problems, answer.problems_total ]);
			if (now == shown)
				return;
			shown = now;
			const grave = answer.problems.filter(problem => problem.severity != 'info' && problem.code != 'engine_down');
			const slight = answer.problems.filter(problem => problem.severity == 'info');
			const rest = answer.problems_total - answer.problems.length;
			remarks.replaceChildren(
				E('summary', {}, [ N_(slight.length, '%d remark', '%d remarks').format(slight.length) ]), ...slight.map(entry));
			node.replaceChildren(...grave.map(entry), ...(slight.length ? [ remarks ] : []),
				...(rest > 0 ? [ E('p', { 'class': 'dpi-quiet' }, [ _('And %d more: dpi-dualctl health lists all.').format(rest) ]) ] : []));
		}
	};
};

/* Does the engine run, since when, and the buttons that change it. */
const service = refresh => {
	const line = E('span', { 'class': 'dpi-quiet' });
	const buttons = {};
	const acts = {
		start: { label: _('Start'), done: _('The engine runs.'), kind: 'cbi-button-positive' },
		restart: { label: _('Restart'), done: _('The engine was started anew.'), kind: '' },
		stop: { label: _('Stop'), done: _('The engine has stopped. It stays stopped until it is started.'), kind: 'cbi-button-negative' }
	};
	const act = async name => {
		if (name != 'start' && !await dpi.confirm(name == 'stop' ? _('Stop the engine?') : _('Restart the engine?'), [
			name == 'stop' ? _('Flows, threats and bans are no longer followed, and live figures end. Published services stay reachable.')
				: _('Live flows are learnt anew; reputations, threats and history are kept.')
		], acts[name].label))
			return;
		Object.values(buttons).forEach(button => { button.disabled = true; });
		buttons[name].classList.add('spinning');
		const answer = await dpi.status[name]();
		buttons[name].classList.remove('spinning');
		Object.values(buttons).forEach(button => { button.disabled = false; });
		dpi.report(answer, acts[name].done);
		await refresh();
	};
	if (dpi.may_write())
		for (const name of Object.keys(acts))
			buttons[name] = E('button', { 'type': 'button', 'class': `btn cbi-button ${acts[name].kind}`, 'data-act': name, 'click': () => act(name) }, [ acts[name].label ]);
	return {
		node: E('div', { 'class': 'dpi-service' }, [ line, E('span', { 'class': 'dpi-acts' }, Object.values(buttons)) ]),
		update: answer => {
			const up = answer.engine == 'running';
			const mode = { dual: _('both streams'), 'mitm-only': _('MITM only'), 'tap-only': _('TAP only') }[answer.mode] ?? answer.mode;
			write(line, up ? _('Engine %s, running for %s, %s').format(answer.version, tables.duration(tables.now() - answer.started_at), mode)
				: _('Engine %s, stopped').format(answer.version));
			for (const name of Object.keys(buttons))
				buttons[name].hidden = (name == 'start') == up;
		}
	};
};

const threat_table = () => tables.create({
	caption: _('Recent threats'),
	id: row => String(row.id),
	filter: _('Filter by address, type or reason…'),
	columns: [
		{ key: 'last_at', title: _('When'), descending: true, nowrap: true, cell: row => E('time', { 'datetime': new Date(row.last_at * 1000).toISOString(), 'title': tables.time(row.last_at) }, [ tables.age(row.last_at) ]) },
		{ key: 'ip', title: _('Address'), nowrap: true, cell: row => E('span', {}, [
			E('a', { 'href': place.link(`${PATH}/timeline`, { ip: row.ip }), 'title': _('Show in the timeline') }, [ tables.wire(row.ip, 48) ]),
			row.kind == 'client' ? ' ' : '',
			row.kind == 'client' ? E('a', { 'class': 'dpi-badge dpi-info', 'href': place.link(`${PATH}/lan`, { client: row.actor || row.ip }) }, [ _('LAN client') ]) : ''
		]) },
		{ key: 'event_type', title: _('What'), nowrap: true, value: row => tables.event(row.event_type) },
		{ key: 'threat_score', title: _('Score'), number: true, cell: row => tables.score(row.threat_score) },
		{ key: 'reason', title: _('Why'), wide: true, cell: row => E('span', {}, [ tables.wire(row.reason, 96), row.count > 1 ? ` ×${tables.count(row.count)}` : '' ]) },
		{ key: 'reputation_score', title: _('Reputation'), number: true, extra: true, cell: row => tables.decimal(row.reputation_score, 0) },
		{ key: 'state', title: _('State'), value: row => STATES[row.state]?.[0] ?? row.state, cell: row => tables.badge(...(STATES[row.state] ?? [ row.state, '' ])) },
		{ key: 'crowdsec_status', title: 'CrowdSec', extra: true, value: row => CROWDSEC[row.crowdsec_status] ?? row.crowdsec_status }
	],
	empty: tables.empty(_('No threats yet.'), _('What the WAF, the scanners’ traps, risky flows or CrowdSec tell about an address appears here. To try it, send an attack at a published service, or record one below.'))
});

/* The day's threat picture. */
const scorecard = () => {
	const level = E('span', {});
	const events = E('b', {}), open = E('b', {}), banned = E('b', {});
	const trend = charts.sparkline({ title: _('Events by the hour, last day'), width: 260, height: 44, stretch: true, step: true });
	const kinds = charts.bars({ title: _('Events by category'), name_title: _('Category'), value_title: _('Events'), empty: _('No event in the last day.') });
	const offenders = charts.bars({ title: _('Worst offenders'), name_title: _('Address'), value_title: _('Reputation'), format: value => tables.decimal(value, 0), empty: _('Nobody has a bad reputation.') });
	const pair = (label, node) => [ E('dt', {}, [ label ]), E('dd', {}, [ node ]) ];
	return {
		node: E('div', { 'class': 'dpi-scorecard' }, [
			E('dl', { 'class': 'dpi-figures' }, [ ...pair(_('Level'), level), ...pair(_('Events, last day'), events), ...pair(_('Open threats'), open), ...pair(_('Threats banned'), banned) ]),
			E('div', { 'class': 'dpi-trend' }, [ trend.node ]),
			E('h4', {}, [ _('Categories') ]), kinds.node,
			E('h4', {}, [ _('Worst offenders') ]), offenders.node
		]),
		update: card => {
			if (level.textContent != severity.WORDS[card.level][0])
				level.replaceChildren(tables.badge(...severity.WORDS[card.level]));
			write(events, tables.count(card.events));
			write(open, tables.count(card.open));
			write(banned, tables.count(card.banned));
			trend.update(card.trend.map((value, i) => [ card.trend_at + i * card.step_s, value ]));
			kinds.update(Object.entries(card.categories).map(([ name, value ]) => ({ name: name, value: value })));
			offenders.update(card.offenders.map(row => ({
				name: row.actor, value: row.score, note: tables.event(row.last_event),
				open: () => { window.location.href = place.link(`${PATH}/timeline`, { ip: row.ip }); }
			})));
		}
	};
};

return view.extend({
	load: function() {
		this.series = streams.curve();
		return dpi.status.overview(this.series.question());
	},

	render: function(answer) {
		this.stream = 'tap';
		this.cards = streams.create();
		this.trouble = troubles();
		this.service = service(() => this.refresh());
		this.stale = E('div', { 'role': 'status' });
		this.graph = charts.line({
			title: _('Traffic over time: WAN and LAN, requests and alerts'),
			lanes: [ _('Traffic'), _('Web requests a minute') ],
			height: 130,
			series: [
				{ name: _('WAN (TAP)'), format: tables.rate, kind: 'area' },
				{ name: _('LAN'), format: tables.rate },
				{ name: _('Requests (MITM)'), format: per_minute, lane: 1, kind: 'area' },
				{ name: _('Alerts'), format: per_minute, lane: 1 }
			],
			empty: _('The first point comes after 10 to 20 seconds of running.')
		});
		this.protocols = charts.donut({ title: _('Bytes by protocol'), format: tables.bytes, centre: _('bytes'), name_title: _('Protocol'), value_title: _('Bytes'), empty: _('No flow was seen yet. Traffic through the router shows here within seconds.') });
		this.applications = charts.bars({ title: _('Bytes by application'), format: tables.bytes, name_title: _('Application'), value_title: _('Bytes'), empty: _('No application was recognised yet.') });
		this.told = E('p', { 'class': 'dpi-quiet' });
		this.threats = threat_table();
		this.card = scorecard();
		this.card_section = section(_('Last 24 hours'), null, [ this.card.node ], 'scorecard');

		this.page = E('div', { 'class': 'dpi-page' }, [
			E('div', { 'class': 'dpi-title' }, [ E('h2', {}, [ _('DPI Dual-Stream') ]), this.service.node ]),
			this.stale, this.trouble.node,
			E('div', { 'class': 'dpi-body' }, [
				this.cards.node,
				section(_('MITM against TAP'), choice(_('Period'), { '10m': _('10 minutes'), '24h': _('24 hours') }, '10m', range => {
					this.series.choose(range);
					return this.refresh();
				}), [ this.graph.node ], 'graph'),
				E('div', { 'class': 'dpi-columns' }, [
					section(_('Protocols and applications'), choice(_('Stream'), { tap: _('WAN'), lan: _('LAN') }, 'tap', stream => {
						this.stream = stream;
						this.draw_names(this.answer);
					}), [ this.protocols.node, E('h4', {}, [ _('Applications') ]), this.applications.node, this.told ], 'names'),
					this.card_section
				]),
				section(_('Recent threats'), E('a', { 'href': L.url(`${PATH}/timeline`) }, [ _('All in the timeline') ]), [ this.threats.node ], 'threats')
			]),
			section(_('An address'), null, [ lookup.create({ done: () => this.refresh() }).node ], 'lookup')
		]);
		this.update(answer);
		poll.add(() => this.refresh(), POLL_S);
		return this.page;
	},

	refresh: async function() {
		this.update(await dpi.status.overview(this.series.question()));
	},

	draw_names: function(answer) {
		const names = answer.distribution[this.stream];
		const shown = names.protocols.reduce((all, row) => all + row.bytes, 0);
		// What did not fit into the answer is still part of the whole.
		const rest = names.bytes > shown ? [ { name: _('other'), value: names.bytes - shown } ] : [];
		this.protocols.update([ ...names.protocols.map(row => ({ name: row.name, value: row.bytes })), ...rest ]);
		this.applications.update(names.applications.filter(row => row.name != 'Unknown').map(row => ({
			name: row.name, value: row.bytes, note: N_(row.flows, '%s flow', '%s flows').format(tables.count(row.flows))
		})));
		write(this.told, this.stream == 'lan' && answer.lan.source == 'conntrack'
			? _('Told by the kernel’s connection table: applications are guessed from ports.')
			: this.stream == 'lan' ? _('Flows of the clients, as the DPI agent classified them since the engine started.')
				: _('Flows on the mirrored WAN that are live or ended in the last minutes.'));
	},

	update: function(answer) {
		if (dpi.failed(answer)) {
			this.stale.replaceChildren(tables.notice('error', _('The router did not answer: %s').format(answer.error),
				this.answer ? [ E('p', {}, [ _('The figures below are from %s.').format(tables.time(this.answer.now_at)) ]) ] : []));
			this.page.classList.add('dpi-old');
			if (!this.answer)
				this.page.querySelector('.dpi-body').hidden = true;
			return;
		}
		const down = answer.engine == 'down';
		this.answer = answer;
		tables.clock(answer.now_at);
		this.page.querySelector('.dpi-body').hidden = false;
		this.page.classList.toggle('dpi-old', down);
		const text = !down ? '' : !answer.enabled ? _('DPI Dual-Stream is switched off in Settings.') : _('The engine does not run.');
		if ((this.stale.firstChild?.dataset.text ?? '') != text + answer.snapshot_at) {
			const why = answer.problems.find(problem => problem.code == 'engine_down');
			this.stale.replaceChildren(...(down ? [ tables.notice('error', text, [
				E('p', {}, [ answer.snapshot_at ? _('The figures below are old: they are the last snapshot’s, of %s.').format(tables.time(answer.snapshot_at)) : _('There is no snapshot to show figures from.') ]),
				E('p', {}, [ !answer.enabled ? _('Switch it on in Settings, General.')
					: dpi.may_write() ? _('Start it with the button above.') : why?.hint ?? '' ])
			]) ] : []));
			if (down)
				this.stale.firstChild.dataset.text = text + answer.snapshot_at;
		}
		this.series.take(answer);
		this.service.update(answer);
		this.trouble.update(answer);
		this.cards.update(answer, this.series);
		this.graph.update({ points: this.series.points, interval_s: this.series.interval_s, ...(this.series.until ? this.series.span() : {}) });
		this.draw_names(answer);
		this.threats.update(answer.threats);
		this.card_section.hidden = !answer.scorecard;
		if (answer.scorecard)
			this.card.update(answer.scorecard);
	},

	handleSave: null,
	handleSaveApply: null,
	handleReset: null
});
