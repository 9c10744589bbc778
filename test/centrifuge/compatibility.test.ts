// Sends every request that docs/compatibility.md lists as not supported, and compares the reply with the
// page.
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { gatewayFor } from '../support/centrifuge-sdk.js'
import { rawAs } from '../support/frames.js'

const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')
const page = read('docs/compatibility.md')
const rows = [...page.matchAll(/^\| ([^|]+?) +\| `([^`]+)` +\| (error|close) (\d+) +\|$/gm)].map(
  ([, what = '', command = '', kind = '', code = '']) => ({ what, command, kind, code: Number(code) }),
)

test('the page lists the unsupported requests', () => {
  expect(rows.length).toBeGreaterThanOrEqual(9)
})

test.each(rows)('$what: $kind $code', async ({ code, command, kind }) => {
  const client = await rawAs(await gatewayFor(), 'ann')
  client.send(command)
  if (kind === 'close') expect((await client.closed()).code).toBe(code)
  else expect(await client.object()).toMatchObject({ id: 2, error: { code } })
})

const version = (path: string, pattern: RegExp): string | undefined => read(path).match(pattern)?.[1]

test.each([
  ['`centrifuge` (JavaScript)', version('node_modules/centrifuge/package.json', /"version": "([^"]+)"/)],
  ['`centrifuge-python`', version('test/sdk/python/requirements.txt', /^centrifuge-python==(.+)$/m)],
  ['`cent` (Python backends)', version('test/sdk/python/requirements.txt', /^cent==(.+)$/m)],
  [
    '`centrifuge-java` (also Android)',
    version('test/sdk/java/pom.xml', /<artifactId>centrifuge-java<\/artifactId>\s*<version>([^<]+)</),
  ],
])('%s is tested in the version that the page states', (client, tested) => {
  const named = page
    .split('\n')
    .filter((line) => line.startsWith(`| ${client} `))
    .map((line) => line.split('|')[2]?.trim())
  expect(new Set(named)).toEqual(new Set([tested]))
})
