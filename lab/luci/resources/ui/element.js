'use strict';
'require baseclass';
'require validation';
'require dom';

/* What all form widgets share: a node, its value, whether it is valid, and the events that tell of changes. */

/** Validates a field on these events, and once at the start. */
function addValidator(field, type, optional, extra, ...events) {
	if (type == null)
		return;
	const validator = validation.create(field, type, optional, extra);
	const run = () => validator.validate();
	for (const name of events.length ? events : [ 'blur', 'keyup' ])
		field.addEventListener(name, run);
	run();
	return run;
}

const Element = baseclass.extend({
	addValidator,

	getValue() {
		return dom.matches(this.node, 'select, input') ? this.node.value : null;
	},

	setValue(value) {
		if (dom.matches(this.node, 'select, input'))
			this.node.value = value;
	},

	setPlaceholder(value) {
		const field = this.node?.querySelector('input:not([type=checkbox]):not([type=radio]), textarea');
		if (field)
			value ? field.setAttribute('placeholder', value) : field.removeAttribute('placeholder');
	},

	isChanged() {
		return this.node?.getAttribute('data-changed') === 'true';
	},

	isValid() {
		return this.validState !== false;
	},

	getValidationError() {
		return this.validationError ?? '';
	},

	/** Validates again; true when that made a difference. */
	triggerValidation() {
		if (typeof this.validateNow !== 'function')
			return false;
		const before = this.isValid();
		this.validateNow();
		return before !== this.isValid();
	},

	registerEvents(target, name, events) {
		for (const event of events)
			target.addEventListener(event, () => this.node.dispatchEvent(new CustomEvent(name, { bubbles: true })));
	},

	setUpdateEvents(target, ...events) {
		this.registerEvents(target, 'widget-update', events);
		const { datatype, validate, optional = true } = this.options;
		if (!datatype && !validate)
			return;
		this.node.addEventListener('validation-success', () => {
			this.validState = true;
			this.validationError = '';
		});
		this.node.addEventListener('validation-failure', ev => {
			this.validState = false;
			this.validationError = ev.detail.message;
		});
		this.validateNow = addValidator(target, datatype ?? 'string', optional, validate, ...events);
	},

	setChangeEvents(target, ...events) {
		for (const event of events)
			target.addEventListener(event, () => this.node.setAttribute('data-changed', true));
		this.registerEvents(target, 'widget-change', events);
	},

	render() {}
});

/* The loader makes one instance of a module; the class itself is what the others extend. */
return baseclass.extend({ Element, addValidator });
