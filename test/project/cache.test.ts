// Tools for tests are created once per machine. An interrupted run, or two runs at once, must not leave an
// incomplete folder.
import { access, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { provideFolder } from '../../scripts/cache.mjs'

let parent: string
let folder: string

beforeEach(async () => {
  parent = await mkdtemp(join(tmpdir(), 'parley-cache-'))
  folder = join(parent, 'kept', 'thing-1')
})
afterEach(() => rm(parent, { recursive: true, force: true }))

async function create(target: string): Promise<string> {
  await writeFile(join(target, 'part'), 'x')
  return ''
}

test('a folder is created once and reused from then on', async () => {
  expect(await provideFolder(folder, create)).toBe('')
  expect(await readdir(folder)).toEqual(['part'])
  expect(await provideFolder(folder, async () => 'created again')).toBe('')
})

test.each([
  ['returns an error', async () => 'no network'],
  ['throws', () => Promise.reject(new Error('no network'))],
])('when the function %s, nothing is left and the error is returned', async (_how, fail) => {
  const failing = async (target: string): Promise<string> => {
    await create(target)
    return fail()
  }
  expect(await provideFolder(folder, failing)).toBe('no network')
  expect(await readdir(join(parent, 'kept'))).toEqual([])
  expect(await provideFolder(folder, create)).toBe('')
})

test('two runs at the same time both succeed', async () => {
  const slow = async (target: string): Promise<string> => {
    await create(target)
    // The other run has completed the folder by now.
    expect(await provideFolder(folder, create)).toBe('')
    return ''
  }
  expect(await provideFolder(folder, slow)).toBe('')
  await access(join(folder, 'part'))
  expect(await readdir(join(parent, 'kept'))).toEqual(['thing-1'])
})
