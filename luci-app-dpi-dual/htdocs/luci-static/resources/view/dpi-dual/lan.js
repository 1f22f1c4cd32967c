'use strict';
'require view';
'require poll';
'require dpi-dual.client as client';
'require dpi-dual.download as download';
'require dpi-dual.place as place';
'require dpi-dual.rpc as dpi';
'require dpi-dual.tables as tables';

/* Every device on the LAN. Whatever is on the screen is asked for by one call a poll. */

const TABS = {
	clients: _('Clients'),
	destinations: _('Destinations'),
	protocols: _('Protocols'),
	history: _('History')
};
const SOURCES = {
	netifyd: _('Flows, protocols and applications are told by netifyd (nDPI).'),
	ndpid: _('Flows, protocols and applications are told by nDPId (nDPI).'),
	conntrack: _('No DPI agent is connected: flows and bytes are the kernel’s (conntrack); applications are guessed from ports.'),
	none: _('No DPI agent is connected, and the kernel’s connection table cannot be read: nothing is counted now.')
};
const RATES = {
	conntrack: _('Rates are the kernel’s (conntrack accounting), measured over %s.'),
	netifyd: _('Rates are those of netifyd’s last report, over %s.'),
	ndpid: _('Rates are those of nDPId’s last report, over %s.'),
	none: _('Rates are not known at the moment.')
};

const named = row => row.hostname || row.mac || row.ip;

const client_columns = [
	{ key: 'hostname', title: _('Client'), value: named, wide: true, cell: row => tables.wire(named(row), 40) },
	{ key: 'ip', title: _('Address'), cell: row => E('div', {}, [
		row.ip || '–', row.ips?.length > 1 ? E('small', { 'class': 'dpi-quiet', 'title': row.ips.join('\n') }, [ `\u00a0+${row.ips.length - 1}` ]) : '',
		row.mac ? E('div', { 'class': 'dpi-under dpi-nowrap' }, [
			row.mac, ' ', row.mac_random ? E('span', { 'title': _('The device made this address up, as phones do.') }, [ tables.badge(_('private')) ]) : ''
		]) : ''
	]) },
	{ key: 'rx_bps', title: _('Receiving'), number: true, cell: row => tables.rate(row.rx_bps) },
	{ key: 'tx_bps', title: _('Sending'), number: true, cell: row => tables.rate(row.tx_bps) },
	{ key: 'bytes_in', title: _('Received'), number: true, extra: true, cell: row => tables.bytes(row.bytes_in) },
	{ key: 'bytes_out', title: _('Sent'), number: true, extra: true, cell: row => tables.bytes(row.bytes_out) },
	{ key: 'bytes', title: _('Bytes'), number: true, hint: _('Both directions, and what nobody told the direction of'), cell: row => tables.bytes(row.bytes) },
	{ key: 'flows', title: _('Flows'), number: true, extra: true, cell: row => tables.count(row.flows) },
	{ key: 'top_app', title: _('Top application'), value: row => row.top_app || row.last_app, cell: row => tables.wire(row.top_app || row.last_app || '–', 30) },
	{ key: 'last_seen_at', title: _('Last seen'), number: true, cell: row => client.when(row.last_seen_at) }
];

const protocol_columns = [
	{ key: 'protocol', title: _('Protocol'), cell: row => tables.wire(row.protocol, 40) },
	{ key: 'application', title: _('Application'), wide: true, value: row => row.application == 'Unknown' ? '' : row.application,
		cell: row => tables.wire(row.application == 'Unknown' ? '–' : row.application, 40) },
	{ key: 'bytes', title: _('Bytes'), number: true, cell: row => tables.bytes(row.bytes) },
	{ key: 'bytes_in', title: _('Received'), number: true, extra: true, cell: row => tables.bytes(row.bytes_in) },
	{ key: 'bytes_out', title: _('Sent'), number: true, extra: true, cell: row => tables.bytes(row.bytes_out) },
	{ key: 'flows', title: _('Flows'), number: true, cell: row => tables.count(row.flows) },
	{ key: 'last_seen_at', title: _('Last seen'), number: true, cell: row => client.when(row.last_seen_at) }
];

/* What an exported list begins with; an empty one has nothing else. */
const FILED = {
	clients: [ 'ip', 'ips', 'mac', 'mac_random', 'hostname', 'interface', 'flows', 'bytes', 'bytes_in', 'bytes_out', 'packets', 'first_seen_at', 'last_seen_at' ],
	destinations: [ 'ip', 'hostname', 'port', 'proto', 'protocol', 'application', 'bytes', 'hits', 'clients', 'last_seen_at' ],
	protocols: [ 'protocol', 'application', 'flows', 'bytes', 'bytes_in', 'bytes_out', 'last_seen_at' ]
};

/* A list in a tab: the first page is asked for with each poll, what 'Load more' brought stays below it. */
const listing = options => {
	const older = new Map();
	let next = '', needle = '', sought = '', timer = 0;
	const fresh = new Map();
	const draw = () => table.update([ ...fresh.values(), ...[ ...older ].filter(([ id ]) => !fresh.has(id)).map(([ , row ]) => row) ], next != '');
	/* A list that is not here as a whole is searched on the router too. */
	const seek = async () => {
		if (!options.find || next == '' || needle == sought)
			return;
		sought = needle;
		const answer = needle ? await options.find(needle) : {};
		for (const row of dpi.failed(answer) ? [] : answer[options.key] ?? [])
			older.set(options.id(row), row);
		draw();
	};
	const table = tables.create({
		...options,
		filtered: text => {
			needle = text;
			window.clearTimeout(timer);
			timer = window.setTimeout(seek, 300);
		},
		more: async () => {
			const answer = await options.turn({ limit: options.limit, before: next });
			if (!dpi.report(answer))
				return;
			for (const row of answer[options.key])
				older.set(options.id(row), row);
			next = answer.next ?? '';
			draw();
		}
	});
	return {
		node: table.node,
		forget: () => { older.clear(); fresh.clear(); next = ''; },
		ask: () => options.turn({ limit: options.limit, figures: true }),
		update: answer => {
			fresh.clear();
			for (const row of answer[options.key] ?? [])
				fresh.set(options.id(row), row);
			if (older.size == 0)
				next = answer.next ?? '';
			draw();
			seek();
		}
	};
};

return view.extend({
	load: function() {
		this.at = this.place();
		this.make();
		return this.ask();
	},

	/* Which tab, client, step of history and search the address asks for. */
	place: function() {
		const at = place.read([ 'tab', 'client', 'period', 'of', 'search' ]);
		return {
			tab: at.tab in TABS ? at.tab : 'clients',
			client: at.client.slice(0, 64),
			period: [ 'hour', 'day', 'week', 'month' ].includes(at.period) ? at.period : 'hour',
			of: at.of.slice(0, 64),
			search: at.search.slice(0, 64)
		};
	},

	make: function() {
		const exports = (name, label, key, id, page) => download.buttons({
			name: `dpi-${name}`, label: label, key: key, id: id, page: page, columns: FILED[key],
			about: () => ({ source: this.figures?.source, rates_source: this.figures?.rates_source })
		});
		const client_id = row => row.mac || row.ip;
		this.clients = listing({
			caption: _('Clients of the LAN'), key: 'clients', id: client_id, limit: 500,
			columns: client_columns, sort: { key: 'bytes', descending: true },
			turn: params => dpi.lan.clients({ sort: 'bytes', ...params }),
			find: text => dpi.lan.clients({ limit: 500, sort: 'bytes', search: text.slice(0, 64) }),
			filter: _('Name, MAC, address, application…'),
			search: row => [ row.hostname, row.mac, ...(row.ips ?? [ row.ip ]), row.top_app, row.last_app ].join('\n'),
			open: row => this.go({ client: client_id(row) }),
			tools: [ exports('clients', TABS.clients, 'clients', client_id, params => dpi.lan.clients({ sort: 'first_seen', ...params })) ],
			empty: tables.empty(_('No client has been seen yet.'),
				_('Devices appear with their first packet. If none does, look at the source of the figures above, and at the interface in Settings, LAN.'))
		});

		this.search = E('input', {
			'type': 'search', 'class': 'cbi-input-text dpi-filter', 'maxlength': '64', 'autocomplete': 'off', 'spellcheck': 'false',
			'placeholder': _('Part of a name or address…'), 'aria-label': _('Search all destinations'),
			'input': () => {
				window.clearTimeout(this.typing);
				this.typing = window.setTimeout(() => this.go({ search: this.search.value.trim() }, false), 300);
			}
		});
		this.of = E('button', { 'type': 'button', 'class': 'btn cbi-button', 'hidden': '', 'click': () => this.go({ of: '' }) });
		const destinations = params => dpi.lan.destinations({
			...params, ...(this.at.of ? { client: this.at.of } : {}), ...(this.at.search ? { search: this.at.search } : {})
		});
		this.destinations = listing({
			caption: _('Destinations outside the LAN'), key: 'destinations', id: client.destination_id, limit: 100,
			columns: client.destination_columns.concat({
				key: 'clients_count', title: _('Clients'), number: true, cell: row => tables.count(row.clients_count)
			}),
			sort: { key: 'bytes', descending: true }, turn: destinations,
			tools: [ this.search, this.of, exports('destinations', TABS.destinations, 'destinations', client.destination_id, destinations) ],
			empty: () => this.at.search || this.at.of
				? tables.empty(_('No destination fits.'), _('Search for less, or for a part of the name.'))
				: tables.empty(_('No destination has been seen yet.'), _('Addresses outside the LAN appear as soon as a client talks to one.'))
		});

		const protocol_id = row => `${row.protocol}\n${row.application}`;
		this.protocols = listing({
			caption: _('Protocols and applications'), key: 'protocols', id: protocol_id, limit: 500,
			columns: protocol_columns, sort: { key: 'bytes', descending: true }, turn: dpi.lan.protocols, filter: true,
			tools: [ exports('protocols', TABS.protocols, 'protocols', protocol_id, dpi.lan.protocols) ],
			empty: tables.empty(_('No protocol has been seen yet.'), _('They appear as soon as a DPI agent tells of flows.'))
		});

		const past = client.history({ title: _('Bytes of the whole LAN'), period: name => this.go({ period: name }) });
		const applications = client.shares(_('Largest applications of this time'), _('Application'));
		const clients = client.shares(_('Largest clients of this time'), _('Client'));
		this.history = {
			node: E('div', {}, [
				E('div', { 'class': 'dpi-card dpi-block' }, [ past.node ]),
				E('div', { 'class': 'dpi-cards dpi-pair' }, [ applications.node, clients.node ])
			]),
			ask: () => dpi.lan.history({ period: this.at.period, figures: true }),
			update: answer => {
				past.update(answer);
				applications.update(answer.applications ?? [], 'application');
				const list = answer.clients ?? [];
				const twice = row => list.some(other => other !== row && other.hostname == row.hostname);
				clients.update(list.map(row => ({
					...row, name: !row.hostname ? row.client : twice(row) ? `${row.hostname} (${row.client})` : row.hostname,
					open: row.client.includes(':') ? () => this.go({ client: row.client }) : null
				})), 'name');
			}
		};

		this.one = client.create({
			close: () => this.go({ client: '' }),
			period: name => this.go({ period: name }),
			destinations: mac => this.go({ client: '', tab: 'destinations', of: mac, search: '' })
		});
	},

	ask: function() {
		return this.at.client ? dpi.lan.client({ client: this.at.client, period: this.at.period, figures: true }) : this[this.at.tab].ask();
	},

	/* Shows something else, and says so in the address; `step`: the browser's Back returns from it. */
	go: function(to, step = true) {
		const before = this.at;
		this.at = { ...this.at, ...to };
		const { tab, client: mac, period, of, search } = this.at;
		place.write({
			tab: tab == 'clients' ? '' : tab, client: mac, period: period == 'hour' ? '' : period,
			of: tab == 'destinations' ? of : '', search: tab == 'destinations' ? search : ''
		}, step);
		return this.changed(before);
	},

	changed: async function(before) {
		const now = this.at;
		if (before.of != now.of || before.search != now.search)
			this.destinations.forget();
		this.layout();
		await this.refresh();
		if (now.client && now.client != before.client)
			this.one.heading.focus();
		else if (before.client && !now.client)
			this.back_to(before.client);
	},

	/* The reader returns to where the client was opened. */
	back_to: function(mac) {
		const opened = [ ...this.panel.querySelectorAll('tr') ].find(tr => tr.textContent.toLowerCase().includes(mac.toLowerCase()));
		(opened?.querySelector('button.dpi-open') ?? this.tabs[this.at.tab]).focus();
	},

	layout: function() {
		const { tab, client: mac } = this.at;
		this.bar.hidden = mac != '';
		for (const name of Object.keys(TABS)) {
			const on = name == tab;
			this.tabs[name].setAttribute('aria-selected', String(on));
			this.tabs[name].setAttribute('tabindex', on ? '0' : '-1');
			this.tabs[name].parentNode.className = on ? 'cbi-tab' : 'cbi-tab-disabled';
		}
		this.search.value = document.activeElement === this.search ? this.search.value : this.at.search;
		this.of.hidden = this.at.of == '';
		this.of.replaceChildren(_('Only of %s').format(this.at.of), ' ✕');
		this.of.setAttribute('aria-label', _('Only of %s: show those of all clients').format(this.at.of));
		const wanted = mac ? this.one.node : this[tab].node;
		if (this.panel.firstChild !== wanted)
			this.panel.replaceChildren(wanted);
		this.panel.setAttribute('aria-labelledby', `dpi-tab-${tab}`);
	},

	refresh: async function() {
		const at = this.at;
		const answer = await this.ask();
		if (at === this.at)
			this.show(answer);
	},

	show: function(answer) {
		const failed = dpi.failed(answer);
		this.trouble.hidden = !failed;
		if (failed) {
			const gone = answer.code == 'not_found' && this.at.client;
			this.trouble.replaceChildren(tables.notice('error', gone ? _('This client is not known any more.') : _('No figures:'), [
				E('p', {}, [ String(answer.error) ]),
				gone ? E('button', { 'type': 'button', 'class': 'btn cbi-button', 'click': () => this.go({ client: '' }) }, [ _('All clients') ]) : ''
			]));
			if (gone)
				this.one.node.hidden = true;
			return;
		}
		this.one.node.hidden = false;
		if (answer.figures)
			this.about(answer.figures, answer.engine == 'down', answer.timestamp);
		if (this.at.client)
			this.one.update(answer);
		else
			this[this.at.tab].update(answer);
	},

	/* What the figures are, where they come from, and what is missing from them. */
	about: function(figures, down, timestamp) {
		this.figures = figures;
		const at = tables.unix(figures.timestamp);
		if (at && !down)
			tables.clock(at);
		const rows = client.strip([
			[ 'active_clients', _('Active clients'), tables.count(figures.active_clients) ],
			[ 'tx_rate_bps', _('To the clients'), tables.rate(figures.tx_rate_bps) ],
			[ 'rx_rate_bps', _('From the clients'), tables.rate(figures.rx_rate_bps) ],
			[ 'bytes', _('Bytes counted'), tables.bytes(figures.bytes) ],
			[ 'flows_live', _('Live flows'), tables.count(figures.flows_live) ],
			[ 'unique_destinations', _('Destinations'), tables.count(figures.unique_destinations) ],
			[ 'detected_protocols', _('Protocols'), tables.count(figures.detected_protocols) ]
		]);
		this.strip.replaceChildren(...rows);
		const notices = [];
		if (down)
			notices.push(tables.notice('error', _('The engine does not run.'), [ E('p', {}, [
				tables.unix(timestamp ?? figures.timestamp) ? _('What is shown is as it was at %s. Start it on the Overview page.').format(tables.time(tables.unix(timestamp ?? figures.timestamp)))
					: _('There are no figures. Start it on the Overview page.')
			]) ]));
		else if (!figures.enabled)
			notices.push(tables.notice('info', _('LAN analysis is switched off.'), [ E('p', {}, [ _('Switch it on in Settings, LAN.') ]) ]));
		else if (figures.interface_up === false)
			notices.push(tables.notice('warning', _('The interface %s is missing or down.').format(figures.interface), [
				E('p', {}, [ _('Name the LAN’s interface in Settings, LAN.') ])
			]));
		else if (figures.source == 'conntrack' || figures.source == 'none')
			notices.push(tables.notice('warning', SOURCES[figures.source], [
				E('p', {}, [ _('Install and start netifyd, and see Health on the Overview page for what it says.') ])
			]));
		for (const problem of figures.offload ?? [])
			notices.push(tables.notice(problem.severity == 'info' ? 'info' : 'warning', problem.message,
				problem.hint ? [ E('p', {}, [ _('What to do:'), ' ', problem.hint ]) ] : []));
		if (JSON.stringify(notices.map(node => node.textContent)) != this.noticed) {
			this.noticed = JSON.stringify(notices.map(node => node.textContent));
			this.notices.replaceChildren(...notices);
		}
		this.source.replaceChildren(...[
			SOURCES[figures.source] ?? '', RATES[figures.rates_source ?? 'none'].format(tables.duration(figures.rates_interval_s ?? 0)),
			(figures.offload ?? []).length == 0 && !down ? _('Flow offload is off: no traffic hides from these figures.') : ''
		].filter(Boolean).map(text => E('span', {}, [ text, ' ' ])));
	},

	render: function(answer) {
		this.notices = E('div', {});
		this.trouble = E('div', { 'hidden': '', 'role': 'alert' });
		this.strip = E('dl', { 'class': 'dpi-strip' });
		this.source = E('p', { 'class': 'dpi-quiet dpi-source' });
		this.panel = E('div', { 'role': 'tabpanel', 'class': 'dpi-panel' });
		this.tabs = {};
		const names = Object.keys(TABS);
		const turn = (name, by) => {
			const next = names[(names.indexOf(name) + by + names.length) % names.length];
			this.tabs[next].focus();
			this.go({ tab: next });
		};
		this.bar = E('ul', { 'class': 'cbi-tabmenu', 'role': 'tablist', 'aria-label': _('LAN Flows') }, names.map(name => {
			this.tabs[name] = E('a', {
				'href': '#', 'role': 'tab', 'id': `dpi-tab-${name}`, 'data-tab-name': name,
				'click': ev => { ev.preventDefault(); this.go({ tab: name }); },
				'keydown': ev => {
					if (ev.key == 'ArrowRight' || ev.key == 'ArrowLeft') {
						ev.preventDefault();
						turn(name, ev.key == 'ArrowRight' ? 1 : -1);
					}
					else if (ev.key == ' ') {
						ev.preventDefault();
						this.go({ tab: name });
					}
				}
			}, [ TABS[name] ]);
			return E('li', { 'role': 'presentation' }, [ this.tabs[name] ]);
		}));
		const node = E('div', { 'class': 'dpi-page' }, [
			E('h2', {}, [ _('LAN Flows') ]), this.notices, this.strip, this.source, this.bar, this.trouble, this.panel
		]);
		this.layout();
		this.show(answer);
		place.follow(() => {
			const before = this.at;
			this.at = this.place();
			this.changed(before);
		});
		poll.add(() => document.hidden ? Promise.resolve() : this.refresh());
		return node;
	},

	handleSave: null,
	handleSaveApply: null,
	handleReset: null
});
