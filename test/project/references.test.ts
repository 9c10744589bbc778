// Generated pages say what the code says.
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

test('docs/reference is what `npm run docs` would write', async () => {
  const { stderr } = await promisify(execFile)(process.execPath, ['scripts/generate-docs.mjs', '--check'])
  expect(stderr).toBe('')
})
