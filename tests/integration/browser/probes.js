/*
 * Small looks at what LuCI's client code does, the same for the lab's runtime and for LuCI itself: a table of functions
 * whose results can be written as JSON. What LuCI answered is in probes.json; test_runtime.py says how to ask it again.
 */
window.probes = (() => {
	const html = node => node.outerHTML;
	const pause = ms => new Promise(resolve => setTimeout(resolve, ms));
	const until = async condition => { while (!condition()) await pause(20); };
	const fire = (node, name) => node.dispatchEvent(new Event(name, { bubbles: true }));

	const get = async options => (await L.require('rpc')).declare({
		object: 'uci', method: 'get', params: [ 'config', 'section', 'option' ], ...options
	});

	/** What validates, by datatype. */
	function datatype(type, values) {
		return () => Object.fromEntries(values.map(value => {
			const field = document.body.appendChild(E('input'));
			field.value = value;
			L.ui.addValidator(field, type, true)();
			field.remove();
			return [ value, !field.hasAttribute('data-tooltip') ];
		}));
	}

	/** A form of every kind of option, on the page. */
	async function form() {
		const kinds = await L.require('form');
		const data = {
			one: {
				enabled: '1', mode: 'b', text: 'hello', num: '5', list: [ 'x', 'y' ], multi: [ 'p', 'q' ], long: 'l1\nl2',
				combo: 'c2', pass: 's3cret', flag0: '0'
			},
			rule: [ { name: 'first', host: 'a.example' }, { name: 'second <b>', host: '<img src=x>' } ]
		};
		const map = new kinds.JSONMap(data, 'Title', 'Description with <em>markup</em>');
		const section = map.section(kinds.NamedSection, 'one', 'one', 'Section', 'About');
		section.tab('a', 'Tab A', 'about a');
		section.tab('b', 'Tab B');
		const add = (tab, kind, name, title, more = {}, values = []) => {
			const option = section.taboption(tab, kinds[kind], name, title, more.description);
			values.forEach(pair => option.value(...L.toArray(pair)));
			delete more.description;
			return Object.assign(option, more);
		};
		add('a', 'Flag', 'enabled', 'Enabled', { description: 'what it does' });
		add('a', 'Flag', 'flag0', 'Flag off', { default: '1', rmempty: false });
		add('a', 'ListValue', 'mode', 'Mode', {}, [ [ 'a', 'First' ], [ 'b', 'Second' ], 'c' ]);
		add('a', 'ListValue', 'unset', 'Unset', { optional: true }, [ [ 'z', 'Zed' ] ]);
		add('a', 'Value', 'text', 'Text <i>x</i>').depends('mode', 'b');
		const gone = add('a', 'Value', 'gone', 'Gone');
		gone.depends('mode', 'a');
		gone.depends({ enabled: '1', mode: 'c' });
		add('a', 'Value', 'rx', 'Rx', { placeholder: 'nothing' }).depends('text', /^hel/);
		add('a', 'Value', 'rev', 'Reverse').depends({ mode: 'b', '!reverse': true });
		add('a', 'Value', 'contains', 'Contains').depends({ list: 'y', '!contains': true });
		add('b', 'Value', 'num', 'Number', { datatype: 'and(uinteger,max(10))', rmempty: false });
		add('b', 'DynamicList', 'list', 'List', { datatype: 'maxlength(3)' });
		add('b', 'MultiValue', 'multi', 'Multi', {}, [ 'p', [ 'q', 'Q!' ], 'r' ]);
		add('b', 'TextValue', 'long', 'Long', { rows: 3 });
		add('b', 'Value', 'combo', 'Combo', {}, [ [ 'c1', 'C1' ], [ 'c2', 'C2' ] ]);
		add('b', 'Value', 'pass', 'Password', { password: true });
		add('b', 'DummyValue', 'dummy', 'Dummy', { cfgvalue: () => '<b>x</b>' });
		add('b', 'Button', 'button', 'Button', { inputtitle: 'Press', inputstyle: 'apply', onclick: () => {} });
		const grid = map.section(kinds.GridSection, 'rule', 'Rules');
		Object.assign(grid, { addremove: true, anonymous: true, sortable: true });
		grid.option(kinds.Value, 'name', 'Name');
		grid.option(kinds.Value, 'host', 'Host', 'a host');
		grid.option(kinds.Value, 'deep', 'Deep').modalonly = true;
		const table = map.section(kinds.TableSection, 'rule', 'Table');
		Object.assign(table, { anonymous: true, addremove: true });
		table.option(kinds.Value, 'host', 'Host');
		table.option(kinds.Flag, 'on', 'On');
		const node = await map.render();
		document.getElementById('view').replaceChildren(node);
		const fields = () => [ ...node.querySelectorAll('[data-field]') ].map(field => {
			const option = L.dom.findClassInstance(field), sid = field.getAttribute('data-field').split('.')[2];
			return { name: `${sid}.${option.option}`, active: option.isActive(sid), value: option.formvalue(sid) ?? null,
				valid: option.isValid(sid), widget: field.closest('[data-name]').getAttribute('data-widget') };
		});
		const change = (name, value, event = 'change') => {
			const field = node.querySelector(`[data-name="${name}"] :is(input, select, textarea)`);
			field.value = value;
			fire(field, event);
			return field;
		};
		return { data, map, section, node, fields, change };
	}

	const dialog = () => document.querySelector('#modal_overlay .modal');
	const dialogIsOpen = () => document.body.classList.contains('modal-overlay-active');
	const own = section => Object.fromEntries(Object.entries(section).filter(([ name ]) => !name.startsWith('.')));

	/** A widget's values after each of these actions. */
	const widget = (make, ...actions) => async () => {
		const made = make(await L.require('ui')), node = made.render();
		document.body.appendChild(node);
		const seen = [ made.getValue() ?? null, ...actions.map(action => action(made, node) ?? made.getValue() ?? null) ];
		node.remove();
		return seen;
	};

	return {
		/* --- text and markup --- */

		'a list is text': () => html(E('p', {}, [ '<b>x</b>' ])),
		'a lone string is markup': () => html(E('p', {}, '<b>x</b>&amp;')),
		'list as second argument': () => html(E('p', [ '<b>', E('i', [ 1 ]), null, 0, false ])),
		'string as second argument': () => html(E('p', 'a<br>b')),
		'tag that is markup': () => html(E('<p class="x">y<b>z</b></p>')),
		'attributes': () => html(E('p', { title: '"><svg onload=1>', x: null, y: undefined, z: false, o: { a: 1 }, l: [ 1 ] })),
		'fragment': () => { const made = E([], [ E('p'), 'x' ]); return [ made.nodeType, made.childNodes.length ]; },
		'fragment of a list': () => { const made = E([ E('p'), 'b' ]); return [ made.nodeType, made.childNodes.length ]; },
		'function as content': () => html(E('p', {}, node => [ node.tagName ])),
		'content of a list': () => { const node = E('p', {}, [ 'old', E('b') ]); L.dom.content(node, [ '<i>' ]); return html(node); },
		'content of a string': () => { const node = E('p', {}, [ 'old' ]); L.dom.content(node, '<i>new</i>'); return html(node); },
		'content of nothing': () => { const node = E('p', {}, [ 'a' ]); L.dom.content(node, null); return html(node); },
		'append of a string': () => { const node = E('p', {}, [ E('b') ]); L.dom.append(node, 'x<i></i>'); return html(node); },
		'append of a list': () => { const node = E('p', {}, [ E('b') ]); L.dom.append(node, [ 'x' ]); return html(node); },
		'append of nothing': () => { const node = E('p', {}, [ 'a' ]); return [ L.dom.append(node, null), html(node) ]; },
		'elem': () => [ E('p'), 'p', null, {}, document.createTextNode('') ].map(value => L.dom.elem(value)),
		'matches': () => [ E('p', { 'class': 'x' }), null, 'p' ].map(value => L.dom.matches(value, 'p.x')),
		'parent': () => {
			const leaf = E('b');
			E('div', { 'class': 'o' }, [ E('p', {}, [ leaf ]) ]);
			return [ L.dom.parent(leaf, '.o').className, L.dom.parent(leaf, 'b') === leaf, L.dom.parent(leaf, 'u') ];
		},
		'data of a node': () => {
			const node = E('p');
			L.dom.data(node, 'a', 1);
			return [ L.dom.data(node, 'a'), L.dom.data(node, 'b') ?? null, L.dom.data(node, 'a', null), L.dom.data(node, 'a') ?? null ];
		},
		'isEmpty': () => [ [], [ 'x' ], [ E('b') ], [ E('b', { 'class': 'hidden' }) ] ].map(list => L.dom.isEmpty(E('p', {}, list))),
		'handlers are no attributes': () => {
			let clicked = 0;
			const button = E('button', { 'click': () => clicked++ });
			button.click();
			return [ clicked, html(button) ];
		},
		'hostile strings': () => [ '<img src=x onerror=alert(1)>', '"><svg onload=1>', '\u202egnp.exe', '&lt;', '{{7*7}}', 'a'.repeat(9999) ]
			.map(text => E('td', {}, [ text ]).textContent === text),

		/* --- format --- */

		'format text': () => [ '%s %d %%'.format('a', 7.9), '%h'.format('<a href="x">&\''), '%q'.format('a"b\'<'), '%h'.format(null),
			'%h'.format({}), '%h'.format(0), '%s'.format(null), '%j'.format(5), '50%'.format(), '%d %s'.format(-1.5, true) ],
		'format width': () => [ '%5d|%-5d|%05d'.format(42, 42, 42), '%5s|%-5s|'.format('ab', 'cd'), '%\'x8s'.format('ab'),
			'%08x'.format(48879) ],
		'format numbers': () => [ '%.2f'.format(1.005), '%f'.format(1.5), '%d'.format('x'), '%u'.format(-1),
			'%x %X %o %b %c'.format(255, 255, 8, 5, 65), String.format('%d-%d', 1, 2) ],
		'format sizes': () => [ 0, 1023, 1024, 1025, 1048577 ].map(n => '%1024mB'.format(n)).concat('%1024.1mB'.format(5e6),
			'%mbit'.format(1234567), '%.1mbit'.format(999)),
		'format durations': () => [ 0, 59, 3661, 90061 ].map(n => '%t'.format(n)),
		'translations': () => [ _('no such message'), N_(1, 'one thing', '%d things'), N_(2, 'one thing', '%d things'), N_(0, 'one', 'many') ],

		/* --- L --- */

		'toArray': () => [ null, 'a b', ' ', [ 1 ], { a: 1 }, 5 ].map(value => L.toArray(value)),
		'isObject': () => [ null, {}, [], 'a', 1 ].map(value => L.isObject(value)),
		'sortedKeys': () => [ L.sortedKeys({ b: 1, a10: 2, a9: 3 }), L.sortedKeys({ a: { n: 10 }, b: { n: 9 } }, 'n', 'num'),
			L.sortedKeys({ a: { i: '10.0.0.10' }, b: { i: '10.0.0.9' } }, 'i', 'addr') ],
		'sortedArray': () => L.sortedArray([ 'eth10', 'eth9', 'br' ]),
		'urls': () => [ L.url('admin', 'x'), L.url('a b'), L.url('admin/x', '?a=b'), L.resource('x.js') ],
		'resolveDefault': async () => [ await L.resolveDefault(Promise.reject(new Error('x')), { a: 1 }), await L.resolveDefault(5, 6) ],
		'raise': () => [ 'TypeError', 'OwnError' ].map(type => {
			try {
				L.raise(type, 'a %s', 'b');
			}
			catch (error) {
				return [ error.name, error.message.split('\n')[0], error instanceof TypeError, error instanceof Error ];
			}
		}),
		'hasViewPermission': () => L.hasViewPermission(),
		'classes': () => {
			const A = L.Class.extend({ __init__(x) { this.x = x; }, who() { return `A${this.x}`; }, other() { return 1; } });
			const B = A.extend({ who() { return `B${this.super('who', [])}`; } });
			const C = B.extend({ __init__(x) { this.super('__init__', [ x + 1 ]); } });
			const c = new C(1);
			return [ c.who(), c instanceof A, B.isSubclass(A), A.isSubclass(B), A.isSubclass(C), c.other(), c.super('nothing', []) ];
		},
		'override on an instance': () => {
			const A = L.Class.extend({ f() { return 'A'; } }), B = A.extend({ g() { return 2; } });
			return Object.assign(new B(), { f() { return `own${this.super('f', [])}`; } }).f();
		},
		'class without new': () => { try { return L.Class.extend({})(); } catch (error) { return error.name; } },
		'require gives one instance': async () => {
			const rpc = await L.require('rpc');
			return [ typeof rpc.declare, rpc === await L.require('rpc'), L.rpc === rpc ];
		},

		/* --- rpc --- */

		'expect': async () => [ await (await get({ expect: { value: '' } }))('dpi-dual', 'tap', 'interface'),
			await (await get({ expect: { value: [] } }))('dpi-dual', 'tap', 'interface') ],
		'status of an error': async () => (await get())('nothing_there'),
		'default for an error': async () => (await get({ expect: { values: { no: 1 } } }))('nothing_there'),
		'reject': async () => (await get({ reject: true }))('nothing_there').catch(error => [ error.name, error.message.split('\n')[0] ]),
		'unknown object': async () => (await get({ object: 'nobody' }))('x').catch(error => [ error.name, error.message.split('\n')[0] ]),
		'filter': async () => (await get({ expect: { value: '' }, filter: (...args) => args }))('dpi-dual', 'tap', 'interface', 'more'),
		'parameters by name': async () => (await get({ params: { config: 1, section: 1, option: 1 }, expect: { value: '' } }))(
			{ config: 'dpi-dual', section: 'tap', option: 'interface', other: 1 }),
		'calls at once are one request': async () => {
			const asked = () => performance.getEntriesByType('resource').filter(entry => entry.name.includes('/ubus')).length;
			const call = await get({ expect: { value: '' } });
			const before = asked();
			const answers = await Promise.all([ call('dpi-dual', 'tap', 'interface'), call('dpi-dual', 'lan', 'history_days') ]);
			await until(() => asked() > before);
			return [ answers, asked() - before ];
		},

		/* --- uci --- */

		'uci read': async () => {
			await L.uci.load('dpi-dual');
			return [ L.uci.get('dpi-dual', 'tap', 'interface'), L.uci.get('dpi-dual', 'tap')['.type'], L.uci.get('dpi-dual', 'none'),
				L.uci.get('dpi-dual', 'tap', 'none') ?? null, L.uci.get_first('dpi-dual', 'lan', 'history_days'),
				L.uci.get_bool('dpi-dual', 'tap', 'enabled'), L.uci.get('dpi-dual', '@tap[0]', 'interface'),
				L.uci.get('dpi-dual', '@tap[-1]', '.name') ];
		},
		'uci edit': async () => {
			const uci = L.uci, seen = [];
			await uci.load('dpi-dual');
			uci.set('dpi-dual', 'tap', 'interface', 'tap9');
			uci.set('dpi-dual', 'tap', 'enabled', '');
			uci.set('dpi-dual', 'tap', 'none', null);
			seen.push(uci.get('dpi-dual', 'tap', 'interface'), uci.get('dpi-dual', 'tap', 'enabled'));
			const named = uci.add('dpi-dual', 'modify', 'one'), other = uci.add('dpi-dual', 'modify');
			uci.set('dpi-dual', named, 'host', 'h');
			const sections = () => uci.sections('dpi-dual', 'modify').map(s => [ s['.anonymous'], s['.index'] ]);
			seen.push(named, /^new[0-9a-f]{6}$/.test(other), uci.get('dpi-dual', named, 'host'), sections());
			uci.move('dpi-dual', other, named, false);
			seen.push(sections());
			uci.remove('dpi-dual', other);
			uci.remove('dpi-dual', 'lan');
			seen.push(sections(), uci.get('dpi-dual', 'lan'), uci.sections('dpi-dual', 'lan').length);
			uci.unload('dpi-dual');
			await uci.load('dpi-dual');
			return [ ...seen, uci.get('dpi-dual', 'tap', 'interface') ];
		},

		/* --- forms --- */

		'form: fields': async () => (await form()).fields(),
		'form: texts': async () => [ ...(await form()).node.querySelectorAll('h2, h3, .cbi-map-descr, .cbi-section-descr, ' +
			'.cbi-tab-descr, label.cbi-value-title, .cbi-value-description, .cbi-tabmenu li, th.th, output')
		].map(node => [ node.className.trim(), node.textContent.trim(), node.children.length > 0 ]),
		'form: ids': async () => {
			const { node } = await form();
			await new Promise(resolve => requestAnimationFrame(() => requestAnimationFrame(resolve)));  // LuCI hides a password that late
			return [ node.id, [ ...node.querySelectorAll('[data-tab-title]') ].map(pane => [ pane.id, pane.dataset.tab, pane.dataset.tabActive ]),
				[ ...node.querySelectorAll('.cbi-section-node') ].map(part => [ part.id, part.className, part.dataset.sectionId ]),
				[ ...node.querySelectorAll('.cbi-value :is(input[id^=widget], select, textarea)') ].filter(field => !field.closest('.cbi-dropdown'))
					.map(field => [ field.id, field.tagName, field.type, field.value, field.placeholder ?? null ]) ];
		},
		'form: dependencies': async () => {
			const { fields, change } = await form();
			const active = () => fields().filter(field => field.active).map(field => field.name);
			return [ active(), ...[ 'a', 'c' ].map(mode => { change('mode', mode); return active(); }) ];
		},
		'form: save': async () => {
			const { data, map, node, change } = await form();
			change('text', 'changed');
			change('long', '');
			node.querySelector('[data-name="enabled"] input').click();
			await map.save();
			return [ own(data.one), data.rule.map(own) ];
		},
		'form: save of what is hidden': async () => {
			const { data, map, change } = await form();
			change('mode', 'a');
			await map.save();
			return own(data.one);
		},
		'form: refuses': async () => {
			const { map, node, change } = await form();
			const seen = [];
			for (const value of [ '11', '' ]) {
				const field = change('num', value, 'keyup');
				seen.push(await map.save(null, true).catch(error => [ error.name, error.message ]), field.getAttribute('data-tooltip'));
				map.checkDepends();
				seen.push(node.querySelector('.cbi-tabmenu li[data-tab="b"]').getAttribute('data-errors'));
			}
			return seen;
		},
		'form: says what it refuses': async () => {
			const { map, change } = await form();
			change('num', 'x', 'keyup');
			await map.save().catch(() => {});
			const seen = [ dialog().querySelector('h4').textContent, [ ...dialog().querySelectorAll('p') ].map(p => p.textContent), dialogIsOpen() ];
			L.ui.hideModal();
			return [ ...seen, dialogIsOpen() ];
		},
		'form: row in a dialog': async () => {
			const { data, node } = await form();
			node.querySelector('.cbi-section-table-row .cbi-button-edit').click();
			await until(dialogIsOpen);
			const seen = [ ...dialog().querySelectorAll('.cbi-value') ].map(field => [ field.dataset.name, field.querySelector('input').value ]);
			dialog().querySelector('[data-name="deep"] input').value = 'sea';
			dialog().querySelector('.cbi-button-positive').click();
			await until(() => !dialogIsOpen());
			return [ dialog().querySelector('h4').textContent, seen, own(data.rule[0]) ];
		},
		'form: row removed': async () => {
			const { map, node } = await form();
			const rows = () => map.data.sections('json', 'rule').map(section => section.host);
			const before = rows();
			node.querySelector('.cbi-section-table-row .cbi-button-remove').click();
			await until(() => rows().length < before.length);
			return [ before, rows() ];
		},
		'form: lookups': async () => {
			const { map, section } = await form();
			return [ map.lookupOption('mode', 'one')?.[1], map.lookupOption('none', 'one'), section.formvalue('one', 'mode'),
				section.cfgvalue('one', 'list'), section.getOption('mode').option, Object.keys(section.formvalue('one')).length,
				section.getUIElement('one', 'text').getValue(), section.getOption('mode').cbid('one'),
				...[ 'list', 'enabled', 'text' ].map(name => section.getOption(name).textvalue('one')) ];
		},

		/* --- widgets --- */

		'text field': widget(ui => new ui.Textfield('a<b', { id: 'x' }), w => w.setValue('c')),
		'password field': widget(ui => new ui.Textfield('a', { password: true }), (w, n) => n.querySelectorAll('input, button').length),
		'text area': widget(ui => new ui.Textarea('a\nb', {}), w => w.setValue('c')),
		'checkbox': widget(ui => new ui.Checkbox('1', {}), w => w.setValue('0'), w => w.isChecked()),
		'checkbox of other values': widget(ui => new ui.Checkbox('yes', { value_enabled: 'yes', value_disabled: 'no' }), w => w.setValue('no')),
		'select': widget(ui => new ui.Select('b', { a: 'A', b: 'B' }, {}), w => w.setValue('a'), (w, n) => n.querySelectorAll('option').length),
		'optional select': widget(ui => new ui.Select('', { a: 'A' }, { optional: true }),
			(w, n) => [ ...n.querySelectorAll('option') ].map(option => option.textContent)),
		'radio buttons': widget(ui => new ui.Select('b', { a: 'A', b: 'B' }, { widget: 'radio', id: 'r' }), w => w.setValue('a')),
		'dropdown': widget(ui => new ui.Dropdown('b', { a: 'A', b: 'B' }, {}), w => w.setValue('a'), w => w.setValue(null),
			(w, n) => [ ...n.querySelectorAll('ul > li') ].map(item => item.getAttribute('data-value'))),
		'dropdown of several': widget(ui => new ui.Dropdown([ 'b' ], { a: 'A', b: 'B' }, { multiple: true }), w => w.setValue([ 'a', 'b' ]),
			w => w.setValue([])),
		'combobox': widget(ui => new ui.Combobox('new', { a: 'A' }, {}), w => w.setValue('a'), w => w.setValue('other')),
		'button of variants': widget(ui => new ui.ComboButton('0', { 0: [ 'Zero' ], 1: [ 'One' ] }, { classes: { 0: 'c0', 1: 'c1' } }),
			(w, n) => n.className, w => w.setValue('1'), (w, n) => n.className),
		'dynamic list': widget(ui => new ui.DynamicList([ 'a', 'b' ], null, { datatype: 'maxlength(2)' }),
			(w, n) => w.addItem(n, 'c'),
			(w, n) => w.addItem(n, 'a'),
			(w, n) => { n.querySelector('.add-item input').value = 'zz'; },
			(w, n) => { n.querySelector('.add-item input').value = 'zzz'; fire(n.querySelector('.add-item input'), 'keyup'); },
			(w, n) => { n.querySelector('.add-item input').value = 'y'; fire(n.querySelector('.add-item input'), 'keyup'); },
			(w, n) => n.querySelector('.cbi-button-add').click(),
			(w, n) => n.querySelectorAll('.item').length,
			(w, n) => w.removeItem(n, n.querySelector('.item')),
			w => w.setValue([ 'q' ])),
		'hidden field': widget(ui => new ui.Hiddenfield('v', {}), w => w.setValue('w')),

		/* --- ui --- */

		'item list': () => html(L.ui.itemlist(E('div'), [ 'A', 1, 'B', null, null, E('i', [ 'x' ]), 'C', '<b>' ])),
		'notification': () => {
			const note = L.ui.addNotification('T', E('p', {}, [ '<b>' ]), 'danger');
			const seen = [ note.classList.contains('alert-message'), note.classList.contains('danger'), note.querySelector('h4').textContent,
				note.querySelector('p').textContent, note.querySelector('button').textContent, note.parentNode.id ];
			note.remove();
			return seen;
		},
		'dialog': () => {
			const shown = L.ui.showModal('T', [ E('p', {}, [ 'x' ]), '<i>' ], 'extra');
			const seen = [ shown.className, shown.getAttribute('role'), shown.textContent, dialogIsOpen() ];
			L.ui.hideModal();
			return seen;
		},
		'handler': async () => {
			const seen = [];
			let done;
			const context = { f: 7, run(argument, ev) { seen.push(this.f, argument, ev.type); return new Promise(resolve => { done = resolve; }); } };
			const button = document.body.appendChild(E('button', { 'click': L.ui.createHandlerFn(context, 'run', 'arg') }));
			button.click();
			seen.push(button.disabled, button.classList.contains('spinning'));
			done();
			await until(() => !button.disabled);
			button.remove();
			return [ ...seen, button.classList.contains('spinning'), L.ui.createHandlerFn({}, 'none') ];
		},
		'indicator': () => [ L.ui.showIndicator('x', 'Label'), L.ui.showIndicator('x', 'Label', null, 'active'),
			document.querySelector('[data-indicator=x]').textContent, L.ui.hideIndicator('x'), L.ui.hideIndicator('x') ],
		'table': () => {
			const table = new L.ui.Table([ 'Name', 'Size' ], { id: `t${Math.random()}`, sortable: true }, 'nothing');
			const texts = () => [ ...table.render().querySelectorAll('tr') ].map(row => [ ...row.children ].map(cell => cell.textContent));
			const seen = [ texts() ];
			table.update([ [ 'b', 10 ], [ 'a', [ 9, '9 B' ] ], [ E('i', [ '<c>' ]), 1 ] ]);
			seen.push(texts(), [ ...table.render().querySelectorAll('td') ].map(cell => [ cell.className, cell.dataset.title, cell.dataset.value ?? null ]));
			table.update([]);
			return [ ...seen, texts() ];
		},
		'poll': async () => {
			const poll = await L.require('poll');
			let called = 0;
			const fn = () => { called++; };
			const seen = [ poll.add(fn, 1), poll.add(fn, 1), poll.active() ];
			await until(() => called > 1);
			seen.push(poll.remove(fn), poll.remove(fn));
			try {
				poll.add(1, 1);
			}
			catch (error) {
				seen.push(error.name);
			}
			return seen;
		},
		'tabs': () => {
			const pane = (name, ...children) => E('div', { 'data-tab': name, 'data-tab-title': name.toUpperCase() }, children);
			const group = E('div', {}, [ pane('a', E('p')), pane('b', E('p')), pane('c') ]);
			const frame = document.body.appendChild(E('div', {}, [ group ]));
			L.ui.tabs.initTabGroup(group.childNodes);
			const state = () => [ ...frame.querySelectorAll('.cbi-tabmenu > li') ].map((tab, i) => [ tab.className, tab.textContent,
				tab.style.display, group.children[i].getAttribute('data-tab-active') === 'true' ]);
			const seen = [ state() ];
			frame.querySelectorAll('li a')[1].click();
			seen.push(state());
			frame.remove();
			return seen;
		},

		/* --- datatypes --- */

		...Object.fromEntries(Object.entries({
			'integer': [ '1', '-1', '1.5', 'x', '' ],
			'uinteger': [ '0', '5', '-1' ],
			'float': [ '1.5', '1.', 'x' ],
			'ufloat': [ '0.5', '-1' ],
			'ipaddr': [ '1.2.3.4', '1.2.3.4/24', '1.2.3.4/255.255.255.0', '::1', '::1/64', '1.2.3', '1.2.3.4/33', '::1/129', '::1/x',
				'2001:db8::1:2:3:4:5:6:7', '1::2::3', ':', '::ffff:1.2.3.4' ],
			'ipaddr(1)': [ '1.2.3.4', '1.2.3.4/24', '::1', '::1/64' ],
			'ip4addr': [ '255.255.255.255', '256.1.1.1', '::1' ],
			'ip6addr': [ '::', '2001:db8::', '1:2:3:4:5:6:7:8', '1:2:3:4:5:6:7', '12345::' ],
			'cidr': [ '1.2.3.4/8', '::/0', '1.2.3.4' ],
			'cidr4': [ '1.2.3.4/33', '1.2.3.0/24' ],
			'cidr6': [ 'fe80::/10', 'fe80::' ],
			'ipmask': [ '1.2.3.0/24', '1.2.3.0/255.255.255.0' ],
			'iprange': [ '1.2.3.4-1.2.3.9', '1.2.3.9-1.2.3.4', '::1-::2' ],
			'port': [ '0', '65535', '65536', '-1', 'x' ],
			'portrange': [ '1-2', '2-1', '80', '1-70000' ],
			'macaddr': [ '00:11:22:33:44:55', '01:11:22:33:44:55', '00-11-22-33-44-55', 'x' ],
			'hostname': [ 'a', 'a.b', '-a', 'a_b', '1.2', 'a..b', '_x', 'a.' ],
			'hostname(1)': [ '_x', 'x' ],
			'host': [ 'a.b', '1.2.3.4', '1.2.3.4/8', 'x y' ],
			'hostport': [ 'a:1', 'a', 'a:b', '1.2.3.4:80' ],
			'ipaddrport(1)': [ '1.2.3.4:80', '[::1]:80', '::1:80' ],
			'network': [ 'lan', '1.2.3.0/24', 'a b' ],
			'uciname': [ 'a_1', 'a-b' ],
			'netdevname': [ 'br-lan', 'eth0.1', 'a/b', 'aaaaaaaaaaaaaaaa', '..' ],
			'range(1,10)': [ '1', '10', '0', '11', '5.5', 'x' ],
			'min(5)': [ '5', '4' ],
			'max(5)': [ '5', '6' ],
			'length(2)': [ 'ab', 'a' ],
			'rangelength(2,3)': [ 'a', 'ab', 'abcd', 'éé' ],
			'minlength(2)': [ 'a', 'ab' ],
			'maxlength(2)': [ 'ab', 'abc' ],
			'and(uinteger,min(2),max(4))': [ '1', '3', '5', 'x' ],
			'and(rangelength(1,5), or(port,ip4addr))': [ '80', '1.2.3.4' ],
			'or(ip4addr,"none",port)': [ '1.2.3.4', 'none', '80', 'x' ],
			'or(\'a b\', "c,d")': [ 'a b', 'c,d', 'a' ],
			'list(uinteger)': [ '1 2', '1 x', ' 1' ],
			'neg(ipaddr)': [ '!1.2.3.4', '1.2.3.4', '!x' ],
			'hexstring': [ 'aa', 'a' ],
			'timehhmmss': [ '12:00:00', '24:00:00' ],
			'file': [ 'x' ]
		}).map(([ type, values ]) => [ `datatype ${type}`, datatype(type, values) ]))
	};
})();
