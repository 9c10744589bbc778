// End-to-end tests against a real cluster: `npm run test:e2e`. They run one after the other, because they
// share one installation.
import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/e2e/**/*.test.ts'],
    setupFiles: ['test/e2e/report-failure.ts'],
    pool: 'forks',
    maxWorkers: 1,
    fileParallelism: false,
    // The tests wait with their own, shorter deadlines.
    testTimeout: 1_200_000,
    hookTimeout: 1_200_000,
    allowOnly: false,
    passWithNoTests: false,
    // Prints measurements during the run.
    disableConsoleIntercept: true,
    reporters: ['verbose', 'json'],
    outputFile: { json: '.test-results/e2e.json' },
  },
})
