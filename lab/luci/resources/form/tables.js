'use strict';
'require baseclass';
'require dom';
'require ui';
'require form.map as map';
'require form.sections as sections';

/* Sections of one type as the rows of a table: edited in place, or (grid) in a dialog. */

const { NamedSection, TypedSection } = sections;

/** Copies the options of a section, and what was set on them, to another one. */
function cloneOptions(from, to, top) {
	for (const option of from.children) {
		if (top && option.modalonly === false)
			continue;
		const copy = option.subsection
			? to.option(option.constructor, option.option, option.subsection.constructor, option.subsection.sectiontype,
				option.subsection.title, option.subsection.description)
			: to.option(option.constructor, option.option, option.title, option.description);
		for (const key of Object.keys(option))
			if (![ 'map', 'section', 'option', 'title', 'description', 'subsection', 'children' ].includes(key))
				copy[key] = option[key];
		if (option.subsection)
			cloneOptions(option.subsection, copy.subsection);
	}
}

const TableSection = TypedSection.extend({
	__name__: 'CBI.TableSection',
	tabular: true,

	tab() {
		throw new Error('Tabs are not supported by TableSection');
	},

	_columns() {
		return this.children.slice(0, this.max_cols ?? this.children.length).filter(option => !option.modalonly && !option.disable);
	},

	_more() {
		return this.max_cols != null && this.max_cols < this.children.length ? _('More…') : null;
	},

	_named() {
		return !this.anonymous || this.sectiontitle;
	},

	_hasActions() {
		return this.sortable || this.extedit || this.addremove || this.cloneable || this._more();
	},

	handleClone(sid, after, name) {
		this.map.data.clone(this._config(), this.sectiontype, sid, after, name);
		return this.map.save(null, true);
	},

	renderContents(sids, contents) {
		const rows = sids.map((sid, i) => {
			const title = this.titleFn('sectiontitle', sid) ?? sid;
			const row = E('tr', {
				'id': `cbi-${this._config()}-${sid}`,
				'class': `tr cbi-section-table-row cbi-rowstyle-${i % 2 + 1}`,
				'data-sid': sid,
				'data-section-id': sid,
				'data-title': this._named() ? title : null
			}, this._named() ? [ E('td', { 'class': 'td cbi-value-field cbi-section-table-titles' }, [ title ]) ] : []);
			for (let left = this._columns().length; left > 0 && contents[i].firstChild; left--)
				row.appendChild(contents[i].firstChild);
			row.appendChild(this.renderRowActions(sid, this._more()));
			return row;
		});
		if (!rows.length)
			rows.push(E('tr', { 'class': 'tr cbi-section-table-row placeholder' }, [
				E('td', { 'class': 'td', 'colspan': this._columns().length + 2 }, [ this.renderSectionPlaceholder() ])
			]));
		const node = this._frame(`cbi-${this._config()}-${this.sectiontype}`, 'cbi-tblsection');
		dom.append(node, [
			E('table', { 'class': 'table cbi-section-table' }, [
				E('thead', { 'class': 'thead cbi-section-thead' }, [ this.renderHeaderRows() ]),
				E('tbody', { 'class': 'tbody cbi-section-tbody' }, rows)
			]),
			this.renderSectionAdd('cbi-tblsection-create')
		]);
		return node;
	},

	renderHeaderRows() {
		const kind = this._named() ? 'named' : 'anonymous';
		const line = (look, name, caption) => E('tr', { 'class': `tr ${look} ${kind}` }, [
			...this._named() ? [ E('th', { 'class': 'th cbi-section-table-cell' }, [ name ?? '' ]) ] : [],
			...this._columns().map(option => {
				const th = E('th', { 'class': 'th cbi-section-table-cell', 'data-widget': option.__name__ }, caption(option));
				if (option.width != null)
					th.style.width = typeof option.width === 'number' ? `${option.width}px` : option.width;
				return th;
			}),
			...this._hasActions() ? [ E('th', { 'class': 'th cbi-section-table-cell cbi-section-actions', 'aria-label': _('Actions') }) ] : []
		]);
		const rows = E([]);
		if (this._columns().some(option => option.title))
			rows.appendChild(line('cbi-section-table-titles', this._named() ? _('Name') : null, option => option.title));
		if (!this.nodescriptions && this._columns().some(option => option.description))
			rows.appendChild(line('cbi-section-table-descr', null, option => option.description));
		return rows;
	},

	renderRowActions(sid, more) {
		if (!this._hasActions() && !more)
			return E([]);
		const readonly = this.map.readonly || null;
		const button = (look, title, click, disabled) => E('button', { 'class': `btn cbi-button ${look}`, title, click, disabled }, [ title ]);
		return E('td', { 'class': 'td cbi-section-table-cell nowrap cbi-section-actions' }, [ E('div', {}, [
			this.sortable ? this._handle(sid) : '',
			this.extedit ? button('cbi-button-edit', _('Edit'), () => typeof this.extedit === 'function' ? this.extedit(sid)
				: window.location.assign(this.extedit.format(sid))) : '',
			more ? button('cbi-button-edit', more, ui.createHandlerFn(this, 'renderMoreOptionsModal', sid)) : '',
			this.cloneable ? button('cbi-button-neutral', this.titleFn('clonebtntitle', sid) ?? _('Clone'),
				ui.createHandlerFn(this, 'handleClone', sid, true), readonly) : '',
			this.addremove ? this._removeButton(sid, 'btn cbi-button cbi-button-remove') : ''
		]) ]);
	},

	/** Rows are put in order by dragging, or with the arrow keys. */
	_handle(sid) {
		const move = (row, other, after) => {
			if (!other?.hasAttribute('data-sid'))
				return;
			other[after ? 'after' : 'before'](row);
			this.map.data.move(this._config(), row.dataset.sid, other.dataset.sid, after);
		};
		const handle = E('button', {
			'class': 'cbi-button drag-handle center',
			'title': _('Drag to reorder'),
			'draggable': true,
			'disabled': this.map.readonly || null,
			'dragstart': ev => {
				ev.dataTransfer.setData('text/plain', sid);
				TableSection.dragged = handle.closest('tr');
			},
			'dragend': () => { TableSection.dragged = null; },
			'keydown': ev => {
				const row = handle.closest('tr');
				if (ev.key === 'ArrowUp')
					move(row, row.previousElementSibling, false);
				else if (ev.key === 'ArrowDown')
					move(row, row.nextElementSibling, true);
				else
					return;
				ev.preventDefault();
				handle.focus();
			}
		}, [ '☰' ]);
		requestAnimationFrame(() => {
			const row = handle.closest('tr');
			row?.addEventListener('dragover', ev => TableSection.dragged?.parentNode === row.parentNode && ev.preventDefault());
			row?.addEventListener('drop', ev => {
				const dragged = TableSection.dragged, place = row.getBoundingClientRect();
				ev.preventDefault();
				if (dragged && dragged !== row)
					move(dragged, row, ev.clientY > place.top + place.height / 2);
			});
		});
		return handle;
	},

	addModalOptions() {},

	handleModalCancel() {
		ui.hideModal();
	},

	async handleModalSave(form) {
		try {
			await form.save(null, true);
		}
		catch (error) {
			return;  // the fields say what is wrong
		}
		await form.parent.load();
		await form.parent.reset();
		return this.handleModalCancel(form, null, true);
	},

	async renderMoreOptionsModal(sid, ev) {
		const parent = this.map;
		const form = parent instanceof map.JSONMap ? new map.JSONMap(null) : new map.Map(parent.config);
		Object.assign(form, { parent, section_id: sid, readonly: parent.readonly, data: parent.data });
		const section = form.section(NamedSection, sid, this.sectiontype);
		if (this.tabs) {
			section.tabs = Object.assign([ ...this.tabs ], Object.fromEntries(this.tabs.map(tab => [ tab.name, tab ])));
			section.tab_names = [ ...this.tab_names ];
		}
		cloneOptions(this, section, true);
		await this.addModalOptions(section, sid, ev);
		const node = await form.render();
		const name = this.titleFn('sectiontitle', sid) ?? (this.anonymous ? null : sid);
		const title = this.titleFn('modaltitle', sid) ?? (name ? `${parent.title} - ${name}` : parent.title);
		ui.showModal([ title ], [ node, E('div', { 'class': 'button-row' }, [
			E('button', { 'class': 'btn cbi-button', 'click': ui.createHandlerFn(this, 'handleModalCancel', form) }, [ _('Dismiss') ]), ' ',
			E('button', {
				'class': 'btn cbi-button cbi-button-positive important',
				'disabled': form.readonly || null,
				'click': ui.createHandlerFn(this, 'handleModalSave', form)
			}, [ _('Save') ])
		]) ], 'cbi-modal');
	}
});

const GridSection = TableSection.extend({
	__name__: 'CBI.GridSection',

	tab(...args) {
		sections.AbstractSection.prototype.tab.apply(this, args);
	},

	_more() {
		return _('Edit');
	},

	handleAdd(ev, name) {
		this.added = this.map.data.add(this._config(), this.sectiontype, name);
		return this.renderMoreOptionsModal(this.added);
	},

	/** What was added in the dialog that is now dismissed is taken back. */
	handleModalCancel(form, ev, saved) {
		if (this.added != null && !saved)
			this.map.data.remove(this._config(), this.added);
		this.added = null;
		return TableSection.prototype.handleModalCancel.call(this, form, ev, saved);
	},

	renderUCISection(sid) {
		return this.renderOptions(null, sid);
	},

	renderChildren(tab, sid, inTable) {
		return Promise.all(this._columns().map((option, index) => option.editable ? option.render(index, sid, inTable)
			: this.renderTextValue(sid, option)));
	},

	renderTextValue(sid, option) {
		const value = option.textvalue(sid);
		return E('td', {
			'class': 'td cbi-value-field',
			'data-title': this.stripTags(option.title).trim() || null,
			'data-description': this.stripTags(option.description).trim() || null,
			'data-name': option.option,
			'data-widget': 'CBI.DummyValue'
		}, value != null ? value : [ E('em', {}, [ _('none') ]) ]);
	},

	parse() {
		const editable = this.children.filter(option => option.editable && !option.modalonly);
		return Promise.all(this.cfgsections().flatMap(sid => editable.map(option => option.parse(sid))));
	}
});

return baseclass.extend({ TableSection, GridSection });
