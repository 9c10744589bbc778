// What tests need is made once a machine; a run that was ended half-way, or two at once, must not leave half of it.
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

async function make(at: string): Promise<string> {
  await writeFile(join(at, 'part'), 'x')
  return ''
}

test('is made once, and found from then on', async () => {
  expect(await provideFolder(folder, make)).toBe('')
  expect(await readdir(folder)).toEqual(['part'])
  expect(await provideFolder(folder, async () => 'made again')).toBe('')
})

test.each([
  ['says why not', async () => 'no network'],
  ['throws', () => Promise.reject(new Error('no network'))],
])('when the making %s nothing is left, and it is told', async (_how, fail) => {
  const made = async (at: string): Promise<string> => {
    await make(at)
    return fail()
  }
  expect(await provideFolder(folder, made)).toBe('no network')
  expect(await readdir(join(parent, 'kept'))).toEqual([])
  expect(await provideFolder(folder, make)).toBe('')
})

test('two at once both have it', async () => {
  const slow = async (at: string): Promise<string> => {
    await make(at)
    // The other one is in place by now.
    expect(await provideFolder(folder, make)).toBe('')
    return ''
  }
  expect(await provideFolder(folder, slow)).toBe('')
  await access(join(folder, 'part'))
  expect(await readdir(join(parent, 'kept'))).toEqual(['thing-1'])
})
