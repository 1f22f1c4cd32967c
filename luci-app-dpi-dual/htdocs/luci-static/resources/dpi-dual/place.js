'use strict';
'require baseclass';

/*
 * What a page shows, kept in its address, so that it can be linked to, gone back to and loaded anew.
 *
 *   read(names)            -> { name: text } from the hash (#ip=…&type=…), else from the query (?ip=…)
 *   write(values, step)    puts what is not empty into the hash; step: a new step of the browser's history
 *   link(path, values)     -> the address of another page of LuCI with these values
 *   follow(changed)        calls back when somebody goes back or forth, or edits the address
 *
 * LuCI itself uses neither hash nor query of a page's address. Whatever stands there was perhaps written by somebody
 * else: it is text of at most 128 characters, for form fields and parameters that the router checks.
 */

const MOST = 128;

const given = () => {
	const hash = window.location.hash.replace(/^#/, '');
	return new URLSearchParams(hash.includes('=') ? hash : window.location.search);
};

const encoded = values => {
	const params = new URLSearchParams();
	for (const name of Object.keys(values))
		if (values[name] !== '' && values[name] != null)
			params.set(name, String(values[name]));
	return params.toString();
};

return baseclass.extend({
	read: names => {
		const params = given();
		return Object.fromEntries(names.map(name => [ name, (params.get(name) ?? '').slice(0, MOST) ]));
	},

	write: (values, step = false) => {
		const text = encoded(values);
		const address = window.location.pathname + (text ? `#${text}` : '');
		if (address == window.location.pathname + window.location.hash && !window.location.search)
			return;
		if (step)
			window.history.pushState(null, '', address);
		else
			window.history.replaceState(null, '', address);
	},

	link: (path, values) => {
		const text = encoded(values);
		return L.url(path) + (text ? `#${text}` : '');
	},

	follow: changed => {
		window.addEventListener('popstate', changed);
	}
});
