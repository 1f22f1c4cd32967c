'use strict';
'require baseclass';

/* The login session, and what the browser keeps for its length. */

const STORE = 'luci-session-store';

return baseclass.extend({
	getID() {
		return L.env.sessionid ?? '0'.repeat(32);
	},

	getToken() {
		return L.env.token ?? null;
	},

	_stored() {
		try {
			return JSON.parse(window.sessionStorage.getItem(STORE))?.[this.getID()] ?? {};
		}
		catch (error) {
			return {};  // storage may be switched off, or hold another program's text
		}
	},

	getLocalData(key) {
		const data = this._stored();
		return key == null ? data : data[key] ?? null;
	},

	setLocalData(key, value) {
		if (key == null)
			return false;
		const data = this._stored();
		if (value == null)
			delete data[key];
		else
			data[key] = value;
		try {
			window.sessionStorage.setItem(STORE, JSON.stringify({ [this.getID()]: data }));
			return true;
		}
		catch (error) {
			return false;
		}
	}
});
