'use strict';
'require baseclass';
'require dom';

/* What lies over or above a page: dialogs, tooltips, notifications, indicators. */

const dialog = E('div', { 'class': 'modal', 'role': 'dialog', 'aria-modal': true });
const curtain = document.body.appendChild(E('div', { 'id': 'modal_overlay', 'tabindex': -1 }, [ dialog ]));
const tooltip = document.body.appendChild(E('div', { 'class': 'cbi-tooltip' }));

curtain.addEventListener('keydown', ev => {
	if (ev.key === 'Escape')
		curtain.querySelector('.right > button, .right > .btn, .button-row > .btn')?.click();
});

function showTooltip(ev) {
	const target = ev.target.closest?.('[data-tooltip]');
	if (!target)
		return;
	const place = target.getBoundingClientRect();
	tooltip.className = `cbi-tooltip ${target.getAttribute('data-tooltip-style') ?? ''}`;
	tooltip.textContent = `▲ ${target.getAttribute('data-tooltip')}`;
	tooltip.style.top = `${place.bottom + window.scrollY}px`;
	tooltip.style.left = `${place.left + window.scrollX}px`;
	tooltip.style.opacity = 1;
}

function hideTooltip(ev) {
	if (ev.target.closest?.('[data-tooltip]'))
		tooltip.removeAttribute('style');
}

for (const [ event, fn ] of [ [ 'mouseover', showTooltip ], [ 'focus', showTooltip ], [ 'mouseout', hideTooltip ],
	[ 'blur', hideTooltip ], [ 'validation-failure', ev => ev.target === document.activeElement && showTooltip(ev) ],
	[ 'validation-success', hideTooltip ] ])
	document.addEventListener(event, fn, true);

return baseclass.extend({
	showTooltip, hideTooltip,

	/** The dialog's node; `children` as in `dom.append()`. */
	showModal(title, children, ...classes) {
		dialog.setAttribute('class', 'modal');
		dialog.classList.add(...classes);
		dom.content(dialog, E('h4', {}, title));
		dom.append(dialog, children);
		document.body.classList.add('modal-overlay-active');
		curtain.scrollTop = 0;
		curtain.focus();
		return dialog;
	},

	hideModal() {
		document.body.classList.remove('modal-overlay-active');
		curtain.blur();
	},

	addNotification(title, children, ...classes) {
		const text = E('div', { 'style': 'flex:10' });
		const note = E('div', { 'class': 'alert-message fade-in', 'style': 'display:flex' }, [
			text,
			E('div', { 'style': 'flex:1 1 auto; display:flex' }, [
				E('button', { 'class': 'btn', 'style': 'margin-left:auto; margin-top:auto', 'click': () => note.remove() }, [ _('Dismiss') ])
			])
		]);
		if (title != null)
			dom.append(text, E('h4', {}, title));
		dom.append(text, children);
		note.classList.add(...classes.filter(Boolean));
		(document.getElementById('maincontent') ?? document.body).prepend(note);
		return note;
	},

	addTimeLimitedNotification(title, children, timeout, ...classes) {
		const note = this.addNotification(title, children, ...classes);
		if (timeout > 0)
			window.setTimeout(() => note.remove(), timeout);
		return note;
	},

	showIndicator(id, label, handler, style) {
		const bar = document.getElementById('indicators');
		if (!bar)
			return false;
		let node = [ ...bar.children ].find(item => item.getAttribute('data-indicator') === id);
		if (!node) {
			const act = typeof handler === 'function' ? handler : null;
			node = E('span', {
				'data-indicator': id,
				'data-clickable': act ? true : null,
				'role': act ? 'button' : null,
				'tabindex': act ? 0 : null,
				'click': act,
				'keydown': act ? ev => (ev.key === 'Enter' || ev.key === ' ') && act(ev) : null
			});
			bar.insertBefore(node, [ ...bar.children ].find(item => item.getAttribute('data-indicator') > id) ?? null);
		}
		const state = style === 'inactive' ? 'inactive' : 'active';
		if (node.textContent === label && node.getAttribute('data-style') === state)
			return false;
		node.textContent = label;
		node.setAttribute('data-style', state);
		return true;
	},

	hideIndicator(id) {
		const node = [ ...document.getElementById('indicators')?.children ?? [] ].find(item => item.getAttribute('data-indicator') === id);
		node?.remove();
		return node != null;
	}
});
