// Verifies docs/tenants.md: its manifests compile, its tables are correct, and its list of reasons is
// complete.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { compileManifests } from './manifests.js'
import { FilesCatalog } from '../catalog/files.js'
import { compileMatch } from '../tenant/channel-match.js'
import { originAllowed } from '../tenant/origin.js'
import { ChannelRule } from '../tenant/policy.js'
import { fileProblemText, problemReasons } from '../resources/problem.js'

const page = readFileSync(new URL('../../docs/tenants.md', import.meta.url), 'utf8')

/** Completes a fragment of the page, which consists of fields of a tenant's spec. */
const wrapping = `apiVersion: parley.chat/v1alpha1
kind: ChatPlan
metadata: { name: free }
spec: {}
---
apiVersion: parley.chat/v1alpha1
kind: ChatTenant
metadata: { name: acme, namespace: demo }
spec:
  planRef: { name: free }
`
const manifests = [...page.matchAll(/```yaml\n(.*?)```/gs)]
  .map(([, text = '']) => text)
  .map((text) => (text.startsWith('apiVersion') ? text : wrapping + text.replaceAll(/^/gm, '  ')))

/**
 * Returns the code spans of each cell of the table with these first headings. The padding of the cells does
 * not matter.
 */
function table(...headings: string[]): string[][][] {
  const lines = page.slice(page.search(new RegExp(`^\\| ${headings.join(' +\\| ')} `, 'm'))).split('\n')
  const rows = lines.slice(2, lines.indexOf(''))
  return rows.map((row) =>
    row
      .split('|')
      .slice(1, -1)
      .map((cell) => [...cell.matchAll(/`([^`]+)`/g)].map(([, code = '']) => code)),
  )
}

test.each(manifests.map((text, index) => [index + 1, text] as const))(
  'manifest %d of the page is served',
  (_, text) => {
    const folder = mkdtempSync(join(tmpdir(), 'parley-page-'))
    writeFileSync(join(folder, 'page.yaml'), text)
    const catalog = FilesCatalog.open(folder, { compile: compileManifests })
    rmSync(folder, { recursive: true })
    expect(catalog.problems.map((problem) => fileProblemText(problem))).toEqual([])
    expect(catalog.get('demo/acme')).toBeDefined()
  },
)

const patterns = table('Type', 'Value')
const origins = table('Entry')
const anna = { user: 'anna', anonymous: false, claims: { team: ['red', 'blue'] } }

test.each(patterns)('%s %s covers %s and not %s', ([type], [value], covered = [], others = []) => {
  const match = compileMatch(ChannelRule.shape.match.parse({ type, value }))
  expect(covered.filter((channel) => !match.matches(channel, anna))).toEqual([])
  expect(others.filter((channel) => match.matches(channel, anna))).toEqual([])
})

test.each(origins)('%s allows %s and not %s', (entry = [], inside = [], outside = []) => {
  expect(inside.filter((origin) => !originAllowed(origin, entry, undefined))).toEqual([])
  expect(outside.filter((origin) => originAllowed(origin, entry, undefined))).toEqual([])
})

test('all manifests and tables of the page were found', () => {
  expect([manifests.length, patterns.length, origins.length]).toEqual([5, 8, 4])
})

test('the table of reasons is complete and in order', () => {
  expect(table('Reason').flatMap(([reasons = []]) => reasons)).toEqual([...problemReasons])
})
