/*
 * Text: `_()` and `N_()` over the loaded catalogue, and the `format()` that every string has in LuCI.
 *
 * A plain script, loaded before everything else. The catalogue is `window.TR`: message → translation, or a list of
 * plural forms; a message in a context is keyed `context\u0004message`.
 *
 * As in LuCI, a text is looked up without blanks at its ends.
 */
'use strict';

(() => {
	const trimmed = text => String(text).trim().replace(/[ \t\n]+/g, ' ');
	const key = (message, context) => context == null ? trimmed(message) : `${trimmed(context)}\u0004${trimmed(message)}`;

	window._ = (message, context) => {
		const found = window.TR?.[key(message, context)];
		return (Array.isArray(found) ? found[0] : found) || message;
	};

	window.N_ = (count, one, many, context) => {
		const forms = window.TR?.[key(one, context)];
		const language = document.documentElement.lang || 'en';
		if (!Array.isArray(forms))
			return count == 1 ? one : many;
		const singular = new Intl.PluralRules(language).select(Math.abs(count)) === 'one';
		return forms[singular ? 0 : forms.length - 1] || (count == 1 ? one : many);
	};

	const HTML = { '&': '&#38;', '"': '&#34;', "'": '&#39;', '<': '&#60;', '>': '&#62;' };
	const QUOTES = { '"': '&#34;', "'": '&#39;' };

	/** Escapes; what is not a word or a number becomes nothing at all. */
	function escaped(value, table) {
		if (value == null || typeof value === 'object' || typeof value === 'function')
			return '';
		return String(value).replace(/[&"'<>]/g, character => table[character] ?? character);
	}

	function duration(seconds) {
		const s = seconds || 0;
		const parts = [ Math.floor(s / 3600) % 24, Math.floor(s / 60) % 60, Math.floor(s % 60) ];
		const days = Math.floor(s / 86400);
		return `${days > 0 ? `${days}d ` : ''}${parts[0]}h ${parts[1]}m ${parts[2]}s`;
	}

	/** With a unit prefix; `base` is 1000 or, for KiB and MiB, 1024. */
	function magnitude(value, base, digits) {
		const prefixes = [ '', 'K', 'M', 'G', 'T', 'P', 'E' ];
		let number = +value || 0, step = 0;
		for (; step < prefixes.length - 1 && number > base; step++)
			number /= base;
		return step ? `${number.toFixed(digits)} ${prefixes[step]}${base == 1024 ? 'i' : ''}` : `${number} `;
	}

	const whole = value => Math.floor(+value || 0);

	const CONVERSIONS = {
		b: value => whole(value).toString(2),
		c: value => String.fromCharCode(+value || 0),
		d: value => whole(value).toFixed(0),
		f: (value, width, precision) => precision ? (+value || 0).toFixed(+precision.slice(1)) : String(+value || 0),
		h: value => escaped(value, HTML),
		j: value => String(value),
		m: (value, width, precision) => magnitude(value, +width || 1000, precision ? +precision.slice(1) : 2),
		o: value => whole(value).toString(8),
		q: value => escaped(value, QUOTES),
		s: value => String(value),
		t: duration,
		u: value => whole(value < 0 ? 0x100000000 + +value : value).toFixed(0),
		x: value => whole(value).toString(16),
		X: value => whole(value).toString(16).toUpperCase()
	};

	const DIRECTIVE = /%('.|0| )?(-)?(\d+)?(\.\d+)?([%bcdfhjmoqstuxX])/g;

	String.prototype.format = function(...values) {
		let next = 0;
		return this.replace(DIRECTIVE, (directive, pad, left, width, precision, type) => {
			if (type === '%')
				return '%';
			const text = CONVERSIONS[type](values[next++], width, precision);
			if (!width || type === 'm')
				return text;
			const filler = pad?.startsWith("'") ? pad[1] : pad ?? ' ';
			return left ? text.padEnd(+width) : text.padStart(+width, filler);
		});
	};

	String.format = (format, ...values) => String.prototype.format.apply(format, values);
})();
