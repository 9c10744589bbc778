// The Python example works with the versions that it names.
import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { backendContract } from '../examples/backend.contract.js'
import { pythonClients } from './clients.js'

backendContract('examples/python-backend', [await pythonClients(), 'python-backend/server.py'])

test('the example names the versions that the tests install', async () => {
  const read = async (path: string): Promise<string[]> =>
    (await readFile(new URL(`../../${path}`, import.meta.url), 'utf8')).trim().split('\n')
  expect(await read('test/sdk/python/requirements.txt')).toEqual(
    expect.arrayContaining(await read('examples/python-backend/requirements.txt')),
  )
})
