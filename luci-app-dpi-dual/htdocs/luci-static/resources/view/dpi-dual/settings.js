'use strict';
'require view';
'require form';
'require poll';
'require rpc';
'require uci';
'require tools.widgets as widgets';
'require dpi-dual.formats as formats';
'require dpi-dual.options as options';
'require dpi-dual.rpc as dpi';
'require dpi-dual.tables as tables';

// Every option comes from options.js, which is made from the engine's own schema: adding one there is enough for it
// to appear here. This page adds what a schema does not say: tabs, interface choosers, and what depends on what.

const PACKAGE = 'dpi-dual';
const SECRETS = 'dpi-dual-secrets';

const TABS = [
	[ 'general', _('General'), [ 'settings' ] ],
	[ 'mitm', _('MITM stream'), [ 'mitm' ] ],
	[ 'rules', _('Rules'), [ 'exclusion', 'modify' ] ],
	[ 'services', _('Services'), [ 'haproxy', 'backend' ] ],
	[ 'tap', _('TAP stream'), [ 'tap' ] ],
	[ 'lan', _('LAN flows'), [ 'lan' ] ],
	[ 'correlation', _('Correlation'), [ 'correlation', 'scoring', 'whitelist' ] ],
	[ 'crowdsec', _('CrowdSec'), [ 'crowdsec' ] ],
	[ 'export', _('Exports'), [ 'export' ] ]
];

const INTERFACES = [ 'tap.interface', 'tap.mirror_source', 'lan.interface' ];

// Shown only while another option has one of these values; a hidden option keeps its value.
const SHOWN_WITH = {
	'mitm.crs_dir': { waf_engine: [ 'auto', 'crs' ] },
	'modify.name': { action: [ 'set_header', 'remove_header' ] },
	'modify.match': { action: [ 'replace_body' ] },
	'modify.value': { action: [ 'set_header', 'replace_body' ] },
	'haproxy.bind': { enabled: [ '1' ] },
	'haproxy.certificate': { enabled: [ '1' ] },
	'haproxy.fail_open': { enabled: [ '1' ] },
	'correlation.auto_ban_threshold': { auto_ban: [ '1' ] },
	'correlation.auto_ban_duration': { auto_ban: [ '1' ] },
	'correlation.notification_threshold': { notifications: [ '1' ] },
	'correlation.webhook': { notifications: [ '1' ] },
	'export.eve_path': { eve: [ '1' ] },
	'export.eve_spool_mb': { eve: [ '1' ] },
	'export.mqtt_host': { mqtt: [ '1' ] },
	'export.mqtt_port': { mqtt: [ '1' ] },
	'export.mqtt_tls': { mqtt: [ '1' ] },
	'export.mqtt_user': { mqtt: [ '1' ] },
	'export.mqtt_topic': { mqtt: [ '1' ] }
};
for (const name in options.sections.scoring.options)
	SHOWN_WITH['scoring.' + name] = { [PACKAGE + '.correlation.sensitivity']: [ 'custom' ] };

// Needed where they are shown, though not always.
const NEEDED = [ 'modify.name', 'haproxy.certificate', 'export.mqtt_host' ];

// What the sensitivities multiply the standard weights with.
const FACTORS = { low: 0.7, medium: 1, high: 1.3 };

// A value that contradicts another one. The one who is changed last is told; `after` asks again when the other changes.
const AGREES = {
	'mitm.block_threshold': {
		after: 'alert_threshold',
		check: (value, alert) => +value >= +alert ||
			_('Expecting at least %d, from where requests raise an alert.').format(alert)
	},
	'tap.mirror_source': {
		after: 'interface',
		check: (value, capture) => !L.toArray(value).includes(capture) ||
			_('%s is the capture interface: its copies would go round for ever.').format(capture)
	}
};

const callAdd = rpc.declare({
	object: 'uci', method: 'add', params: [ 'config', 'type', 'name', 'values' ], expect: { section: '' }, reject: true
});

/** Secrets typed since the page was drawn: section → option → text; empty: to be forgotten. */
let typed = {};

/** Stages what was typed, to be applied with all else; nobody may read it, so “unsaved changes” does not show it. */
function stageSecrets() {
	const sections = Object.keys(typed);
	return Promise.all(sections.map(of => callAdd(SECRETS, options.secrets[of].type, of, typed[of])))
		.then(() => {
			typed = {};
			return sections.length > 0;
		});
}

function help(option) {
	const parts = [ option.help ];
	if (option.range)
		parts.push(option.unit
			? _('%d to %d %s.').format(option.range[0], option.range[1], option.unit)
			: _('%d to %d.').format(option.range[0], option.range[1]));
	if (option.datatype !== 'bool' && !option.choices && option.default.length)
		parts.push(_('Default: %s.').format(L.toArray(option.default).join(' ')));
	return parts.join(' ');
}

function widgetOf(path, option) {
	if (INTERFACES.includes(path))
		return widgets.DeviceSelect;
	if (option.datatype === 'bool')
		return form.Flag;
	if (option.choices)
		return form.ListValue;
	return option.list ? form.DynamicList : form.Value;
}

/** Adds `name` of options.js' section `of` to a form's section. */
function addOption(section, of, name, tab) {
	const option = options.sections[of].options[name];
	const path = of + '.' + name;
	const what = [ widgetOf(path, option), name, option.title, help(option) ];
	const o = tab ? section.taboption(tab, ...what) : section.option(...what);

	o.retain = true;
	for (const other in SHOWN_WITH[path])
		SHOWN_WITH[path][other].forEach(value => o.depends(other, value));

	if (option.datatype === 'bool') {
		o.default = option.default;
		o.rmempty = false;
		o.load = section_id => {
			const on = formats.isOn(uci.get(PACKAGE, section_id, name));
			return on == null ? null : on ? '1' : '0';
		};
		return o;
	}

	const agrees = AGREES[path];
	const needed = option.required || NEEDED.includes(path);
	o.rmempty = !needed;
	o.validate = (section_id, value) => {
		for (const text of option.list ? L.toArray(value) : [ value ?? '' ]) {
			const said = formats.check({ ...option, required: needed && !option.list }, text);
			if (said !== true)
				return said;
		}
		if (!agrees)
			return true;
		const other = options.sections[of].options[agrees.after];
		const or = (given, fallback) => given == null || given === '' ? fallback : given;
		return agrees.check(or(value, option.default), or(section.formvalue(section_id, agrees.after), other.default));
	};
	for (const other in AGREES)
		if (other.split('.')[0] === of && AGREES[other].after === name)
			o.onchange = (ev, section_id) => {
				section.children.find(child => child.option === other.split('.')[1]).triggerValidation(section_id);
				section.map.checkDepends();
			};

	if (option.choices) {
		option.choices.forEach(([ value, label ]) => o.value(value, label));
		o.default = option.default || option.choices[0][0];
		o.load = section_id => {
			const value = uci.get(PACKAGE, section_id, name);
			return option.choices.some(choice => choice[0] === value) ? value : null;
		};
	}
	else if (INTERFACES.includes(path)) {
		o.noaliases = true;
		o.multiple = !!option.list;
		o.default = option.default;
	}
	else {
		o.datatype = option.datatype;
		o.placeholder = L.toArray(option.default).join(' ') || null;
		if (option.list)
			o.default = option.default;
	}
	return o;
}

function addSection(parent, tab, of, alone) {
	const { type, title, help: text, many, options: entries } = options.sections[of];
	const kind = many ? form.GridSection : form.NamedSection;
	const names = many ? [ type ] : [ of, type ];
	const section = parent.taboption(tab, form.SectionValue, '_' + of, kind, ...names,
		alone ? null : title, text).subsection;

	if (many) {
		section.addremove = dpi.may_write();
		section.anonymous = true;
		section.nodescriptions = true;
		section.sortable = of === 'modify';
	}
	for (const name in entries) {
		addOption(section, of, name);
		if (of === 'correlation' && name === 'sensitivity')
			addWeights(section);
	}
}

/** What each sensitivity makes of an event. */
function addWeights(section) {
	const o = section.option(form.DummyValue, '_weights', _('Weights'),
		_('Points that an event adds to a reputation of 0 to 100.'));
	const levels = options.sections.correlation.options.sensitivity.choices.filter(([ level ]) => FACTORS[level]);
	const events = options.sections.scoring.options;

	o.renderWidget = () => E('table', { 'class': 'dpi-table', 'style': 'font-size: 90%' }, [
		E('thead', [ E('tr', [
			E('th', { 'scope': 'col' }, [ _('Event') ]),
			...levels.map(([ , label ]) => E('th', { 'scope': 'col', 'class': 'dpi-number', 'style': 'white-space: normal' }, [ label ]))
		]) ]),
		E('tbody', Object.keys(events).map(event => E('tr', [
			E('th', { 'scope': 'row' }, [ events[event].title ]),
			...levels.map(([ level ]) => E('td', { 'class': 'dpi-number' },
				[ tables.decimal(events[event].default * FACTORS[level]) ]))
		])))
	]);
	o.depends({ sensitivity: 'custom', '!reverse': true });
}

/** Passwords and keys: never read, so never shown; what is typed replaces what is stored. */
function addSecrets(parent, tab, of) {
	const { type, options: entries } = options.secrets[of];
	const section = parent.taboption(tab, form.SectionValue, '_secrets_' + of, form.NamedSection, of, type,
		_('Passwords and keys'),
		_('They are kept in a file of their own and never shown. An empty field leaves what is stored.')).subsection;

	Object.keys(entries).forEach(name => {
		const o = section.option(form.Value, '_secret_' + name, entries[name].title, entries[name].help);
		o.password = true;
		o.load = () => null;
		o.validate = (section_id, value) => formats.check(entries[name], value);
		o.write = (section_id, value) => { (typed[of] ??= {})[name] = value; };
		o.remove = () => {};
	});

	const forget = section.option(form.Flag, '_forget_' + of, _('Forget what is stored'));
	forget.load = () => null;
	forget.write = () => {
		const empty = Object.fromEntries(Object.keys(entries).map(name => [ name, '' ]));
		typed[of] = { ...empty, ...typed[of] };
	};
	forget.remove = () => {};
}

/** What the engine makes of the settings it has read. */
function verdict(health) {
	const problems = Array.isArray(health?.problems) ? health.problems : [];
	const about = problems.filter(problem => String(problem.code).startsWith('config_') && problem.severity !== 'info');
	const others = problems.length - about.length;
	const down = dpi.failed(health) || health.engine !== 'running';
	const overview = E('a', { 'href': L.url('admin/secubox/dpi-dual/overview') },
		[ N_(others, 'The Overview has %d more note.', 'The Overview has %d more notes.').format(others) ]);
	const more = others && !down ? [ E('p', [ overview ]) ] : [];

	if (about.length)
		return tables.notice('warning', _('The engine found faults in the stored settings'), [
			E('ul', about.map(problem => E('li', [ problem.message, problem.hint ? ' – ' + problem.hint : '' ]))), ...more
		]);
	if (down)
		return tables.notice('warning', _('The engine is not running'), [ E('p', [ _('It reads these settings when it starts.') ]) ]);
	return tables.notice('ok', _('The engine runs with the stored settings and finds no fault in them'), more);
}

return view.extend({
	load() {
		return Promise.all([
			dpi.status.health(),
			uci.load(PACKAGE)
		]);
	},

	render([ health ]) {
		// A section that the owner removed is at its defaults; it comes back when something is saved.
		for (const name in options.sections)
			if (!options.sections[name].many && !uci.get(PACKAGE, name))
				uci.add(PACKAGE, options.sections[name].type, name);

		const m = new form.Map(PACKAGE, _('DPI Dual-Stream settings'));
		const s = m.section(form.NamedSection, 'settings', options.sections.settings.type);
		const writable = dpi.may_write();
		m.readonly = !writable;
		if (!writable)
			this.handleSave = this.handleSaveApply = this.handleReset = null;

		TABS.forEach(([ tab, title ]) => s.tab(tab, title));
		for (const [ tab, , sections ] of TABS) {
			for (const of of sections) {
				if (of === 'settings')
					Object.keys(options.sections.settings.options).forEach(name => addOption(s, of, name, tab));
				else
					addSection(s, tab, of, sections.length === 1 && !options.secrets[of]);
				if (writable && options.secrets[of])
					addSecrets(s, tab, of);
			}
		}

		const box = E('div', { 'role': 'status', 'id': 'dpi-dual-verdict' }, [ verdict(health) ]);
		poll.add(() => dpi.status.health().then(now => {
			const fresh = verdict(now);
			if (!fresh.isEqualNode(box.firstElementChild))
				box.replaceChildren(fresh);
		}), 5);

		return m.render().then(node => E('div', { 'class': 'dpi-page' }, [ box, node ]));
	},

	handleSave(ev) {
		typed = {};
		return this.super('handleSave', [ ev ]).then(stageSecrets).then(staged => {
			if (staged)
				dpi.notify(_('Passwords and keys are stored by “Save & Apply”.'), 'info');
		});
	}
});
