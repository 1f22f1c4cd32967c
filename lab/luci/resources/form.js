'use strict';
'require baseclass';
'require form.map as map';
'require form.sections as sections';
'require form.tables as tables';
'require form.values as values';

/* Forms over UCI: LuCI's `form`, gathered from its parts. */

const { Map, JSONMap } = map;
const { AbstractSection, NamedSection, TypedSection } = sections;
const { TableSection, GridSection } = tables;
const { AbstractValue, Value, DynamicList, ListValue, RichListValue, Flag, MultiValue, TextValue, DummyValue, Button, HiddenValue,
	SectionValue } = values;

return baseclass.extend({
	Map, JSONMap, AbstractSection, NamedSection, TypedSection, TableSection, GridSection, AbstractValue, Value, DynamicList, ListValue,
	RichListValue, Flag, MultiValue, TextValue, DummyValue, Button, HiddenValue, SectionValue
});
