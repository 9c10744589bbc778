// Generated pages are up to date with the code.
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

test('docs/reference is up to date with `npm run docs`', async () => {
  const { stderr } = await promisify(execFile)(process.execPath, ['scripts/generate-docs.mjs', '--check'])
  expect(stderr).toBe('')
})
