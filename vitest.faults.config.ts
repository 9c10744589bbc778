// Faults against real Redis and Sentinel processes: `npm run test:faults`. They run one at a time, because
// they measure times.
import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/faults/**/*.test.ts'],
    pool: 'forks',
    maxWorkers: 1,
    fileParallelism: false,
    testTimeout: 180_000,
    hookTimeout: 60_000,
    allowOnly: false,
    reporters: ['default', 'json'],
    outputFile: { json: '.test-results/faults.json' },
  },
})
