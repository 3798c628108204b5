/** Tests of the output forms: columns, tables, templates, custom columns, names, ages. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatAge } from '../../../api/age.ts';
import { ColumnWriter } from './columns.ts';
import { compileTemplate } from './jsonpath.ts';
import { listOf, objectPrinter } from './objects.ts';
import { formatLabels, TablePrinter } from './table.ts';
import type { Table } from './table.ts';

const NODE = {
  apiVersion: 'edge.example.com/v1',
  kind: 'Router',
  metadata: { name: 'n1', labels: { 'example.org/x': 'y', zone: 'a' }, managedFields: [{}] },
  spec: {
    frps: { bindPort: 7000 },
    list: [
      { name: 'a', port: 1 },
      { name: 'b', port: 2 },
    ],
  },
};

test('columns are three spaces apart and at least six wide; later rows keep earlier widths', () => {
  const writer = new ColumnWriter();
  assert.equal(
    writer.format([
      ['A', 'LONGER', 'C'],
      ['', 'x', ''],
    ]),
    'A     LONGER   C\n      x        \n',
  );
  assert.equal(writer.format([['b', 'é', 'z']]), 'b     é        z\n');
});

const AGES: [number, string][] = [
  [0, '0s'],
  [119, '119s'],
  [120, '2m'],
  [322, '5m22s'],
  [600, '10m'],
  [3 * 3600, '3h'],
  [7 * 3600 + 300, '7h5m'],
  [20 * 3600 + 300, '20h'],
  [3 * 86_400 + 4 * 3600, '3d4h'],
  [30 * 86_400, '30d'],
  [800 * 86_400, '2y70d'],
];
for (const [seconds, text] of AGES) {
  test(`an age of ${seconds} seconds is written ${text}`, () => {
    assert.equal(formatAge(seconds * 1000), text);
  });
}

const TEMPLATES: [string, string][] = [
  ['{.metadata.name}', 'n1'],
  ['plain', 'plain'],
  ['{.spec.list[*].name}', 'a b'],
  ['{.spec.frps}', '{"bindPort":7000}'],
  ['{.nothing.here}', ''],
  ['{range .spec.list[*]}{.name}={.port}{"\\n"}{end}', 'a=1\nb=2\n'],
  ['{range .spec.list[*]}{@.name},{$.metadata.name};{end}', 'a,n1;b,n1;'],
  ['{.spec.list[?(@.name=="b")].port}', '2'],
  ['{.metadata.labels.example\\.org/x}', 'y'],
  ["{.metadata.labels['zone']}", 'a'],
  ['{.spec.list[-1:].name}', 'b'],
  ['{.kind}{"}"}', 'Router}'],
  ['{range .spec.list[*]}{range $.spec.list[*]}{.name}{end}-{end}', 'ab-ab-'],
];
for (const [template, text] of TEMPLATES) {
  test(`the template ${template} prints what kubectl prints`, () => {
    assert.equal(compileTemplate(template)(NODE), text);
  });
}

for (const template of ['{.a', '{end}', '{range .a}', '{.a[}', '{.a[?(@.x==y)]}']) {
  test(`the template ${template} is refused`, () => {
    assert.throws(() => compileTemplate(template), { code: 'EDGE_ERR_JSONPATH_SYNTAX' });
  });
}

test('json has sorted keys, four spaces and no managed fields', async () => {
  const print = await objectPrinter('json');
  assert.match(print?.(NODE) ?? '', /^\{\n {4}"apiVersion"/u);
  assert.doesNotMatch(print?.(NODE) ?? '', /managedFields/u);
  assert.match((await objectPrinter('json', { isManagedShown: true }))?.(NODE) ?? '', /managedFields/u);
});

test('yaml quotes what other readers would take for a boolean or a date', async () => {
  const print = await objectPrinter('yaml');
  assert.equal(
    print?.({ b: 'y', a: '2026-01-01T00:00:00Z', c: 'plain' }),
    'a: "2026-01-01T00:00:00Z"\nb: "y"\nc: plain\n',
  );
});

test('names are qualified, also of a list', async () => {
  const print = await objectPrinter('name');
  assert.equal(print?.(listOf([NODE, NODE])), 'router.edge.example.com/n1\nrouter.edge.example.com/n1\n');
});

test('custom columns print <none> for what is missing and join several values', async () => {
  const print = await objectPrinter(
    'custom-columns=NAME:.metadata.name,N:spec.list[*].name,X:{.no},Y:.spec.list[0,1].port',
  );
  assert.equal(print?.(NODE), 'NAME   N     X        Y\nn1     a,b   <none>   1,2\n');
  assert.equal(print?.(NODE), 'n1     a,b   <none>   1,2\n', 'one header for all');
});

for (const output of ['bad', 'custom-columns', 'custom-columns=X', 'jsonpath=']) {
  test(`the output form ${output} is refused`, async () => {
    await assert.rejects(objectPrinter(output), { code: 'EDGE_ERR_USAGE' });
  });
}

const TABLE: Table = {
  kind: 'Table',
  columnDefinitions: [
    { name: 'Name', format: 'name' },
    { name: 'Bind Port' },
    { name: 'Extra', priority: 1 },
  ],
  rows: [
    { cells: ['n1', 7000, 'x'], object: { metadata: { name: 'n1', labels: { b: '2', a: '1' } } } },
    { cells: ['n2', null, 'two\nlines'], object: { metadata: { name: 'n2' } } },
  ],
};
const PLAIN = { isWide: false, hasHeaders: true, areLabelsShown: false, labelColumns: [] };

test('a table shows the columns of its kind, empty cells empty, the wide ones on request', () => {
  assert.equal(new TablePrinter(PLAIN).format(TABLE), 'NAME   BIND PORT\nn1     7000\nn2     \n');
  assert.equal(
    new TablePrinter({ ...PLAIN, isWide: true, hasHeaders: false }).format(TABLE),
    'n1    7000   x\nn2           two...\n',
  );
});

test('labels and prefixes are added where asked for', () => {
  assert.equal(
    new TablePrinter({
      ...PLAIN,
      areLabelsShown: true,
      labelColumns: ['example.org/a', 'a'],
      namePrefix: 'r/',
    }).format(TABLE),
    'NAME   BIND PORT   A     A     LABELS\nr/n1   7000              1     a=1,b=2\nr/n2                           <none>\n',
  );
  assert.equal(formatLabels({}), '<none>');
});

test('events of a watch without definitions are printed under the first header', () => {
  const printer = new TablePrinter({ ...PLAIN, hasEvents: true });
  printer.format(TABLE, 'ADDED');
  assert.equal(
    printer.format({ kind: 'Table', rows: TABLE.rows.slice(0, 1) }, 'DELETED'),
    'DELETED   n1     7000\n',
  );
});
