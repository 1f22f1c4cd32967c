'use strict';
'require baseclass';
'require form';
'require network';
'require ui';

/* Options whose choices come from the router. */

const DeviceSelect = form.ListValue.extend({
	__name__: 'CBI.DeviceSelect',

	async load(sid) {
		this.devices = await network.getDevices();
		return form.ListValue.prototype.load.call(this, sid);
	},

	filter() {
		return true;
	},

	renderWidget(sid, index, stored) {
		const value = stored ?? this.default;
		const choices = {};
		for (const device of this.devices) {
			const name = device.getName();
			if (!(this.noaliases && name.startsWith('@')) && !(name === 'lo' && !this.loopback) && this.filter(sid, name))
				choices[name] = E('span', { 'class': 'ifacebadge' }, [ device.getI18n() ]);
		}
		return new ui.Dropdown(this.multiple ? L.toArray(value) : value, choices, this._options(sid, {
			sort: true,
			multiple: !!this.multiple,
			create: !this.nocreate,
			select_placeholder: E('em', {}, [ _('unspecified') ]),
			custom_placeholder: this.placeholder ?? _('custom'),
			datatype: 'netdevname',
			display_items: this.display_size ?? this.size ?? 3
		})).render();
	},

	textvalue(sid) {
		return form.ListValue.prototype.textvalue.call(this, sid);
	}
});

return baseclass.extend({ DeviceSelect });
