// Tests of the official SDKs of other languages: `npm run test:sdk`. Each client runs in its own process.
import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/sdk/**/*.test.ts'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 90_000,
    hookTimeout: 90_000,
    allowOnly: false,
    passWithNoTests: false,
    // Stops early, because a client that cannot connect would run into the timeout of every test.
    bail: 10,
    reporters: ['default', 'json'],
    outputFile: { json: '.test-results/sdk.json' },
  },
})
