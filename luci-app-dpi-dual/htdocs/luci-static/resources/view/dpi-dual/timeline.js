'use strict';
'require view';
'require poll';
'require dpi-dual.charts as charts';
'require dpi-dual.client as client';
'require dpi-dual.dialog as dialog';
'require dpi-dual.place as place';
'require dpi-dual.rpc as dpi';
'require dpi-dual.severity as severity';
'require dpi-dual.tables as tables';
'require dpi-dual.threat as threat';

/* What was correlated about whom, newest first. One call a poll brings the newest events and the figures. */

const PAGE = 30;
/* Cards on the page; who reads on leaves the first ones behind. */
const MOST = 150;

const TYPES = [ 'waf_block', 'waf_alert', 'scanner', 'brute_force', 'dpi_threat', 'crowdsec_ban' ];
const SCORES = [ [ '', _('any score') ], ...severity.LIMITS.map(([ name, least ]) =>
	[ String(least), _('%d or more: %s').format(least, severity.WORDS[name][0]) ]).reverse() ];
const SPANS = { hour: 3600, day: 86400, week: 604800, month: 2592000 };
const PERIODS = [ [ '', _('any time') ], [ 'hour', _('last hour') ], [ 'day', _('last day') ], [ 'week', _('last week') ], [ 'month', _('last month') ] ];
const STATES = [ [ '', _('any state') ], [ 'new', _('open') ], [ 'acknowledged', _('acknowledged') ], [ 'muted', _('muted') ], [ 'crowdsec_ban', _('banned') ] ];
const CROWDSEC = {
	connected: [ _('connected'), 'ok' ], connecting: [ _('connecting'), '' ], not_set_up: [ _('not set up'), 'warning' ],
	unreachable: [ _('no answer'), 'error' ], refused: [ _('login refused'), 'error' ], unsupported: [ _('bad address'), 'error' ], off: [ _('off'), '' ]
};

return view.extend({
	load: function() {
		this.wanted = this.place();
		return this.ask();
	},

	/* The filters that the address asks for; what makes no sense is left out. */
	place: function() {
		const at = place.read([ 'ip', 'type', 'score', 'period', 'state' ]);
		const one_of = (options, value) => options.some(([ id ]) => id == value) ? value : '';
		return {
			ip: at.ip.trim().slice(0, 64),
			type: /^[a-z][a-z0-9_]{0,31}$/.test(at.type) ? at.type : '',
			score: /^(100|[1-9]?[0-9])$/.test(at.score) && at.score != '0' ? at.score : '',
			period: one_of(PERIODS, at.period),
			state: one_of(STATES, at.state)
		};
	},

	ask: function(more = {}) {
		const { ip, type, score, period, state } = this.wanted;
		return dpi.correlator.timeline({
			limit: PAGE,
			...(ip ? { ip: ip } : {}), ...(type ? { type: type } : {}), ...(state ? { state: state } : {}),
			...(score ? { min_score: Number(score) } : {}),
			...(period ? { since: Math.max(0, Math.floor(tables.now() - SPANS[period])) } : {}),
			...more
		});
	},

	/* --- the list */

	/* Begins anew with the answer's events. */
	fill: function(answer) {
		this.cards.clear();
		this.waiting = [];
		this.gap = false;
		this.trimmed = 0;
		this.list.replaceChildren();
		this.append(answer.threats ?? []);
		this.newest = Math.max(this.newest, ...(answer.threats ?? []).map(record => record.id));
		this.next = answer.next ?? '';
		this.total = answer.total ?? 0;
	},

	make: function(record) {
		const card = threat.create(record, {
			opened: () => this.say(),
			changed: () => this.refresh(),
			only: ip => this.filter({ ip: ip })
		});
		this.cards.set(record.id, card);
		return card.node;
	},

	append: function(records) {
		this.list.append(...records.filter(record => !this.cards.has(record.id)).map(record => this.make(record)));
	},

	/* Changes the list where the reader does not look, and keeps what is looked at where it is. */
	steady: function(anchor, change) {
		const before = anchor?.getBoundingClientRect().top;
		change();
		if (anchor?.isConnected)
			window.scrollBy(0, anchor.getBoundingClientRect().top - before);
	},

	more: async function() {
		this.load_more.disabled = true;
		const wanted = this.wanted;
		const answer = await this.ask({ before: this.next });
		this.load_more.disabled = false;
		if (wanted !== this.wanted || !dpi.report(answer))
			return;
		this.steady(this.list.lastElementChild, () => {
			this.append(answer.threats);
			this.next = answer.next ?? '';
			while (this.cards.size > MOST) {
				const [ id, card ] = this.cards.entries().next().value;
				card.node.remove();
				this.cards.delete(id);
				this.trimmed++;
			}
		});
		this.say();
	},

	/* The reader is at the top, reads no card, and is about to press nothing: new events may come in. */
	may_insert: function() {
		return !this.trimmed && !this.gap && this.list.getBoundingClientRect().top >= 0 && !this.list.matches(':hover')
			&& !this.list.contains(document.activeElement) && ![ ...this.cards.values() ].some(card => card.is_open());
	},

	/* An answer of the poll: the newest page. */
	take: function(answer) {
		const fits = new Set(), fresh = [];
		for (const record of answer.threats) {
			fits.add(record.id);
			if (this.cards.has(record.id))
				this.cards.get(record.id).update(record);
			else if (record.id > this.newest)
				fresh.push(record);
		}
		const oldest = answer.threats.length && answer.next ? answer.threats[answer.threats.length - 1].id : 0;
		for (const [ id, card ] of this.cards) {
			card.age();
			// It does not fit the filter any more: acknowledged, say.
			if (id >= oldest && !fits.has(id) && !card.is_open()) {
				card.node.remove();
				this.cards.delete(id);
			}
		}
		this.waiting = fresh;
		// A whole page of new events: those between it and the list were not in the answer.
		this.gap = fresh.length > 0 && fresh.length == answer.threats.length && Boolean(answer.next) && this.cards.size > 0;
		this.total = answer.total;
		if (this.cards.size == 0 && !this.trimmed)
			this.fill(answer);
		else if (fresh.length && this.may_insert())
			this.insert();
	},

	insert: function() {
		const known = [ ...this.cards ];
		this.cards.clear();
		const nodes = this.waiting.map(record => this.make(record));
		nodes.forEach(node => node.classList.add('dpi-fresh'));
		known.forEach(([ id, card ]) => this.cards.set(id, card));
		this.newest = Math.max(this.newest, ...this.waiting.map(record => record.id));
		this.list.prepend(...nodes);
		this.waiting = [];
		while (this.cards.size > MOST) {
			const [ id, card ] = [ ...this.cards ].pop();
			card.node.remove();
			this.cards.delete(id);
			this.next = `t${[ ...this.cards.keys() ].pop().toString(16)}`;
		}
	},

	/* 'New events' was pressed. */
	show_new: async function() {
		if (this.gap || this.trimmed)
			this.fill(await this.ask());
		else
			this.insert();
		this.say();
		const first = this.cards.values().next().value;
		this.list.scrollIntoView({ block: 'nearest' });
		first?.button.focus();
	},

	/* --- filters */

	filter: async function(to, step = true) {
		this.wanted = { ...this.wanted, ...to };
		place.write(this.wanted, step);
		await this.anew();
	},

	anew: async function() {
		const wanted = this.wanted;
		this.controls();
		this.list.setAttribute('aria-busy', 'true');
		const answer = await this.ask({ figures: true });
		if (wanted !== this.wanted)
			return;
		this.list.setAttribute('aria-busy', 'false');
		this.newest = 0;
		this.show(answer, true);
	},

	/* The form shows what is in force. */
	controls: function() {
		for (const name of Object.keys(this.inputs)) {
			const input = this.inputs[name], value = this.wanted[name];
			if (input.tagName == 'SELECT' && value && ![ ...input.options ].some(option => option.value == value))
				input.append(E('option', { 'value': value }, [ name == 'type' ? tables.event(value) : value ]));
			if (input !== document.activeElement || input.tagName == 'SELECT')
				input.value = value;
		}
		this.reset.hidden = !Object.values(this.wanted).some(Boolean);
	},

	/* --- answers */

	refresh: async function() {
		const wanted = this.wanted;
		const answer = await this.ask({ figures: true });
		if (wanted === this.wanted)
			this.show(answer, false);
	},

	show: function(answer, anew) {
		const failed = dpi.failed(answer);
		const mine = failed && [ 'bad_address', 'bad_type', 'bad_parameter' ].includes(answer.code);
		this.inputs.ip.setAttribute('aria-invalid', String(mine));
		this.wrong.textContent = mine ? answer.error : '';
		this.wrong.hidden = !mine;
		this.notices.replaceChildren(...(failed && !mine ? [ tables.notice('error', _('No events:'), [ E('p', {}, [ String(answer.error) ]) ]) ] : []));
		if (failed) {
			if (anew) {
				this.fill({ threats: [] });
				this.say(mine ? tables.empty(_('This filter cannot be used.'), _('Write an address, a network such as 198.51.100.0/24, or the MAC of a client.')) : null);
			}
			return;
		}
		const down = answer.engine == 'down';
		if (down)
			this.notices.replaceChildren(tables.notice('error', _('The engine does not run.'), [
				E('p', {}, [ _('What is shown was written before it ended, whatever the filters say. Start it on the Overview page.') ])
			]));
		if (answer.figures)
			this.figures(answer.figures);
		this.strip.hidden = !answer.figures && down;
		if (anew || down)
			this.fill(answer);
		else
			this.take(answer);
		this.say();
	},

	/* How many there are, how many are shown, what can be pressed. */
	say: function(instead) {
		const empty = this.cards.size == 0;
		this.blank.hidden = !empty;
		if (empty)
			this.blank.replaceChildren(instead ?? (this.reset.hidden
				? tables.empty(_('Nothing has happened yet.'), _('Attacks on the published services, risky flows and decisions of CrowdSec appear here. To see one, correlate an address by hand on the Overview page.'))
				: tables.empty(_('No event fits the filters.'), _('Widen the period or the score, or show all events.'))));
		const text = empty ? '' : this.cards.size >= this.total ? N_(this.total, '%s event', '%s events').format(tables.count(this.total))
			: _('%s–%s of %s events').format(tables.count(this.trimmed + 1), tables.count(this.trimmed + this.cards.size), tables.count(this.total));
		if (this.said.textContent != text)
			this.said.textContent = text;
		this.load_more.hidden = this.next == '' || empty;
		const fresh = this.waiting.length, label = this.trimmed && !fresh ? _('Back to the newest')
			: this.gap ? _('More than %s new events').format(tables.count(fresh))
			: N_(fresh, '%s new event', '%s new events').format(tables.count(fresh));
		this.arrived.hidden = fresh == 0 && this.trimmed == 0;
		if (!this.arrived.hidden && this.arrived.textContent != label)
			this.arrived.textContent = label;
	},

	figures: function(figures) {
		const [ level, kind ] = severity.WORDS[figures.level] ?? [ String(figures.level), '' ];
		const [ crowdsec, crowdsec_kind ] = CROWDSEC[figures.crowdsec?.state] ?? [ String(figures.crowdsec?.state), '' ];
		const day = figures.trend.reduce((sum, point) => sum + point.events, 0);
		const values = {
			level: tables.badge(level, kind),
			new: tables.count(figures.by_state.new),
			crowdsec_ban: tables.count(figures.by_state.crowdsec_ban),
			acknowledged: tables.count(figures.by_state.acknowledged),
			muted: tables.count(figures.by_state.muted),
			day: tables.count(day),
			worst_score: tables.decimal(figures.worst_score, 0),
			crowdsec: tables.badge(crowdsec, crowdsec_kind)
		};
		for (const name of Object.keys(values)) {
			const place_of = this.strip.querySelector(`[data-figure="${name}"]`), value = values[name];
			if (place_of.textContent != (value.textContent ?? value))
				place_of.replaceChildren(value);
		}
		this.trend.update(figures.trend.map(point => [ point.at, point.events ]));
		const types = [ ...new Set([ ...TYPES, ...Object.keys(figures.by_type ?? {}) ]) ];
		for (const type of types)
			if (![ ...this.inputs.type.options ].some(option => option.value == type))
				this.inputs.type.append(E('option', { 'value': type }, [ tables.event(type) ]));
	},

	render: function(answer) {
		this.cards = new Map();  // number → card, newest first
		this.waiting = [];
		this.newest = this.trimmed = this.total = 0;
		const field = (name, title, input) => {
			input.id = `dpi-filter-${name}`;
			return E('div', { 'class': 'dpi-entry' }, [ E('label', { 'for': input.id }, [ title ]), input ]);
		};
		const choice = (name, options) => {
			const input = dialog.select(options, this.wanted[name]);
			input.addEventListener('change', () => this.filter({ [name]: input.value }));
			return input;
		};
		this.inputs = {
			ip: E('input', {
				'type': 'search', 'class': 'cbi-input-text', 'maxlength': '64', 'autocomplete': 'off', 'spellcheck': 'false',
				'placeholder': '198.51.100.0/24', 'aria-describedby': 'dpi-filter-wrong', 'search': () => this.typed(), 'change': () => this.typed()
			}),
			type: choice('type', [ [ '', _('any event') ], ...TYPES.map(type => [ type, tables.event(type) ]) ]),
			score: choice('score', SCORES),
			period: choice('period', PERIODS),
			state: choice('state', STATES)
		};
		this.wrong = E('p', { 'id': 'dpi-filter-wrong', 'class': 'dpi-wrong', 'role': 'alert', 'hidden': '' });
		this.reset = E('button', { 'type': 'button', 'class': 'btn cbi-button', 'hidden': '', 'click': () => {
			this.inputs.ip.value = '';
			this.filter({ ip: '', type: '', score: '', period: '', state: '' });
			this.inputs.ip.focus();
		} }, [ _('Show all') ]);
		const form = E('form', { 'class': 'dpi-filters', 'role': 'search', 'aria-label': _('Filters'), 'submit': ev => { ev.preventDefault(); this.typed(); } }, [
			field('ip', _('Address, network or MAC'), this.inputs.ip), field('type', _('Event'), this.inputs.type),
			field('score', _('Score'), this.inputs.score), field('period', _('Time'), this.inputs.period), field('state', _('State'), this.inputs.state),
			this.reset
		]);

		this.trend = charts.sparkline({ title: _('Events of the last day by hour'), format: tables.count, width: 100, height: 26, min: 0 });
		this.strip = E('dl', { 'class': 'dpi-strip' }, client.strip([
			[ 'level', _('Threat level'), '–' ], [ 'new', _('Open'), '–' ], [ 'crowdsec_ban', _('Banned'), '–' ],
			[ 'acknowledged', _('Acknowledged'), '–' ], [ 'muted', _('Muted'), '–' ], [ 'day', _('Events in 24 hours'), '–' ],
			[ 'worst_score', _('Worst reputation'), '–' ], [ 'crowdsec', _('CrowdSec'), '–' ]
		]));
		this.strip.append(E('div', {}, [ E('dt', {}, [ _('By hour') ]), E('dd', {}, [ this.trend.node ]) ]));

		this.notices = E('div', {});
		this.said = E('span', { 'class': 'dpi-said', 'role': 'status' });
		this.arrived = E('button', { 'type': 'button', 'class': 'btn cbi-button cbi-button-action dpi-arrived', 'hidden': '', 'click': () => this.show_new() });
		this.list = E('ol', { 'class': 'dpi-events', 'aria-label': _('Events, newest first') });
		this.blank = E('div', { 'hidden': '' });
		this.load_more = E('button', { 'type': 'button', 'class': 'btn cbi-button', 'hidden': '', 'data-more': '', 'click': () => this.more() }, [ _('Load more') ]);
		const node = E('div', { 'class': 'dpi-page' }, [
			E('h2', {}, [ _('Correlation Timeline') ]), this.notices, this.strip, form, this.wrong,
			E('div', { 'class': 'dpi-above' }, [ this.said, E('span', { 'aria-live': 'polite' }, [ this.arrived ]) ]),
			this.list, this.blank, E('div', { 'class': 'dpi-foot' }, [ this.load_more ])
		]);
		this.controls();
		this.show(answer, true);
		place.follow(() => {
			this.wanted = this.place();
			this.anew();
		});
		poll.add(() => document.hidden ? Promise.resolve() : this.refresh());
		return node;
	},

	/* The address field was left, or Enter pressed in it. */
	typed: function() {
		const ip = this.inputs.ip.value.trim();
		if (ip != this.wanted.ip)
			this.filter({ ip: ip });
	},

	handleSave: null,
	handleSaveApply: null,
	handleReset: null
});
