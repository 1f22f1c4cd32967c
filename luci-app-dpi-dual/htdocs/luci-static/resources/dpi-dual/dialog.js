'use strict';
'require baseclass';
'require ui';
'require dpi-dual.rpc as dpi';

/*
 * One question before something is changed, and what came of it.
 *
 *   ask({ title, text, fields, action, grave, run(values), done(answer) })
 *     title    plain text of our own
 *     text     [ string or Node, … ], one paragraph each
 *     fields   [ { name, label, input: Node with a value, hint } ]
 *     action   what the button says that does it; grave: in the colour for what hurts
 *     run      -> Promise of the answer; while it runs the dialog says so, and a failure is shown in it, with its code
 *     done     is told of success, when the dialog is gone and the focus is back where it was
 *   select(options, value)  -> <select> of [ [ value, text ], … ]
 */

let number = 0;

const select = (options, value) => E('select', { 'class': 'cbi-input-select' }, options.map(([ id, text ]) =>
	E('option', { 'value': id, 'selected': id == value ? '' : null }, [ text ])));

const ask = options => {
	const opener = document.activeElement;
	const id = `dpi-dialog-${++number}`;
	const trouble = E('div', { 'class': 'dpi-notice dpi-error', 'role': 'alert', 'hidden': '' });
	const fields = (options.fields ?? []).map((field, i) => {
		field.input.id = `${id}-${i}`;
		if (field.hint)
			field.input.setAttribute('aria-describedby', `${id}-${i}-hint`);
		return E('div', { 'class': 'dpi-entry' }, [
			E('label', { 'for': field.input.id }, [ field.label ]), field.input,
			field.hint ? E('span', { 'class': 'dpi-under', 'id': `${id}-${i}-hint` }, [ field.hint ]) : ''
		]);
	});

	const close = () => {
		ui.hideModal();
		window.removeEventListener('popstate', close);
		if (opener?.isConnected)
			opener.focus({ preventScroll: true });
	};
	const cancel = E('button', { 'type': 'button', 'class': 'btn cbi-button', 'click': close }, [ _('Cancel') ]);
	const act = E('button', { 'type': 'submit', 'class': `btn cbi-button ${options.grave ? 'cbi-button-negative' : 'cbi-button-action'} important` }, [ options.action ]);

	const run = async ev => {
		ev.preventDefault();
		if (act.disabled)
			return;
		act.disabled = true;
		act.classList.add('spinning');
		trouble.hidden = true;
		const values = Object.fromEntries((options.fields ?? []).map(field => [ field.name, field.input.value.trim() ]));
		const answer = await options.run(values);
		act.disabled = false;
		act.classList.remove('spinning');
		if (dpi.failed(answer)) {
			trouble.replaceChildren(E('strong', {}, [ _('It did not happen:') ]), ' ', String(answer?.error ?? _('The router gave no answer.')),
				' ', E('code', {}, [ String(answer?.code ?? '') ]));
			trouble.hidden = false;
			(fields.length ? options.fields[0].input : cancel).focus();
			return;
		}
		close();
		options.done?.(answer, values);
	};

	const form = E('form', { 'class': 'dpi-dialog', 'submit': run, 'keydown': ev => {
		if (ev.key != 'Tab')
			return;
		// The page behind must not be reached while the question is open.
		const stops = [ ...form.querySelectorAll('input, select, textarea, button') ].filter(stop => !stop.disabled);
		const last = stops[stops.length - 1];
		if (ev.shiftKey ? document.activeElement === stops[0] : document.activeElement === last) {
			ev.preventDefault();
			(ev.shiftKey ? last : stops[0]).focus();
		}
	} }, [
		...[].concat(options.text ?? []).map(text => E('p', {}, [ text ])), ...fields, trouble,
		E('div', { 'class': 'right' }, [ cancel, ' ', act ])
	]);
	const box = ui.showModal(options.title, [ form ]);
	box.firstElementChild.id = id;
	box.setAttribute('aria-labelledby', id);
	window.addEventListener('popstate', close);
	(fields.length ? options.fields[0].input : cancel).focus();
};

return baseclass.extend({ ask: ask, select: select });
