// Official SDKs of other languages: `npm run test:sdk`. Each is a process of its own.
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
    // A client that cannot connect would wait in every test.
    bail: 10,
    reporters: ['default', 'json'],
    outputFile: { json: '.test-results/sdk.json' },
  },
})
