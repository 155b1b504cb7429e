// SPDX-License-Identifier: MIT
// What node.trace records: functions that become hot, so that they are compiled as they run.
function fibonacci(n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }
const numbers = Array.from({ length: 200000 }, (_, i) => i * 1.5);
let sum = 0;
for (let round = 0; round < 20; round++)
	sum += numbers.filter(x => x % 3 === 0).map(x => x * x).reduce((a, b) => a + b, 0);
console.log(fibonacci(24), sum);
