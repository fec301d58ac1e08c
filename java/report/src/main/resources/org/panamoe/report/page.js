'use strict';
// Draws each chart from the JSON beside it, in the colours of the style sheet; again when those change, and to each width.
(() => {
  const SYMBOLS = ['circle', 'rect', 'triangle', 'diamond', 'roundRect', 'pin', 'arrow'];
  const DASHES = ['solid', 'dashed', 'dotted'];
  const MANY = 5000; // marks beyond which a canvas is faster than SVG
  const color = name => getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim();
  const label = axis => axis.unit ? axis.title + ' (' + axis.unit + ')' : axis.title;
  const number = v => v === null || v === undefined ? '–'
    : Math.abs(v) >= 1e6 || (v !== 0 && Math.abs(v) < 1e-3) ? v.toExponential(3) : String(+v.toPrecision(5));
  const short = v => Math.abs(v) >= 1e15 || (v !== 0 && Math.abs(v) < 1e-3) ? v.toExponential()
    : Math.abs(v) >= 1e9 ? v / 1e9 + 'G' : Math.abs(v) >= 1e6 ? v / 1e6 + 'M' : Math.abs(v) >= 1e4 ? v / 1e3 + 'k' : String(v);

  // Text from data never becomes markup.
  function tip(title, rows) {
    const box = document.createElement('div');
    const head = document.createElement('strong');
    head.textContent = title;
    box.append(head);
    for (const [name, value] of rows) {
      const row = document.createElement('div');
      row.textContent = name + ': ' + value;
      box.append(row);
    }
    return box;
  }
  const withUnit = (axis, v) => number(v) + (axis.unit ? ' ' + axis.unit : '');

  function axis(a, more) {
    return {
      type: a.log ? 'log' : 'value', name: label(a), nameLocation: 'middle', scale: !a.log,
      nameTextStyle: {color: color('faint'), fontSize: 12}, axisLabel: {color: color('faint'), hideOverlap: true, formatter: short},
      axisLine: {show: true, lineStyle: {color: color('rule')}}, splitLine: {lineStyle: {color: color('rule'), opacity: .6}}, ...more,
    };
  }
  function categories(a, names, more) {
    return axis(a, {type: 'category', data: names, scale: undefined, splitLine: {show: false},
      axisTick: {show: names.length < 40}, axisLabel: {color: color('faint'), hideOverlap: true, overflow: 'truncate', width: 120}, ...more});
  }

  function option(c, narrow) {
    const legend = c.series && c.series.length + (c.guides || []).length > 1;
    const base = {
      animation: false, backgroundColor: 'transparent', aria: {enabled: true},
      color: ['c0', 'c1', 'c2', 'c3', 'c4', 'c5', 'c6'].map(color),
      textStyle: {fontFamily: getComputedStyle(document.body).fontFamily},
      grid: {left: narrow ? 56 : 72, right: narrow ? 12 : 24, top: legend ? 44 : 20, bottom: 52},
      legend: legend ? {type: 'scroll', top: 4, left: 0, textStyle: {color: color('ink')}, pageTextStyle: {color: color('ink')},
        pageIconColor: color('ink'), itemWidth: c.kind === 'lines' ? 28 : 14} : undefined,
      tooltip: {confine: true, backgroundColor: color('panel'), borderColor: color('rule'), textStyle: {color: color('ink'), fontSize: 13},
        extraCssText: 'max-width: min(22rem, 80vw); white-space: normal; overflow-wrap: anywhere;'},
    };
    const xAxis = {nameGap: 30}, yAxis = {nameGap: narrow ? 40 : 54};
    if (c.kind === 'lines' || c.kind === 'points') {
      const place = p => (c.x.log && !(p[0] > 0)) || (c.y.log && !(p[1] > 0)) ? [p[0], null] : p;
      return {...base, xAxis: axis(c.x, xAxis), yAxis: axis(c.y, yAxis),
        tooltip: {...base.tooltip, trigger: 'item',
          formatter: p => tip(p.data[2] ? p.seriesName + ', ' + p.data[2] : p.seriesName,
            [[c.x.title, withUnit(c.x, p.data[0])], [c.y.title, withUnit(c.y, p.data[1])]])},
        series: [...c.series.map((s, i) => ({
          name: s.name, type: c.kind === 'lines' ? 'line' : 'scatter', data: s.points.map(place),
          symbol: SYMBOLS[i % SYMBOLS.length], symbolSize: c.kind === 'lines' ? (s.points.length > 100 ? 3 : 6) : 11,
          showSymbol: true, lineStyle: {width: 2, type: DASHES[Math.floor(i / 7) % DASHES.length]}, emphasis: {focus: 'series'},
        })), ...c.guides.map((g, i) => ({
          name: g.name, type: 'line', data: g.points.map(place), symbol: 'none', color: color('faint'),
          lineStyle: {width: 1.5, type: DASHES[i % DASHES.length]},
        }))]};
    }
    if (c.kind === 'bars') {
      return {...base, aria: {enabled: true, decal: {show: legend}}, xAxis: categories(c.x, c.categories, xAxis), yAxis: axis(c.y, {...yAxis, scale: false}),
        tooltip: {...base.tooltip, trigger: 'item', formatter: p => tip(p.name, [[p.seriesName, withUnit(c.y, p.value)]])},
        series: c.series.map(s => ({name: s.name, type: 'bar', stack: c.stacked ? 'all' : undefined, data: s.values,
          barMaxWidth: 48, barGap: '10%', emphasis: {focus: 'series'}}))};
    }
    const cells = c.values.flatMap((row, y) => row.map((v, x) => [x, y, v]));
    return {...base, grid: {...base.grid, top: 12, right: narrow ? 12 : 124, bottom: narrow ? 104 : 52},
      xAxis: categories(c.x, c.columns, xAxis), yAxis: categories(c.y, c.rows, {...yAxis, inverse: true}),
      visualMap: {min: c.from, max: c.to, calculable: true, precision: 3,
        orient: narrow ? 'horizontal' : 'vertical', ...(narrow ? {left: 'center', bottom: 4} : {right: 0, top: 'middle'}),
        text: [label(c.value), ''], textStyle: {color: color('faint')}, inRange: {color: ['h0', 'h1', 'h2', 'h3', 'h4'].map(color)},
        formatter: number},
      tooltip: {...base.tooltip, trigger: 'item', formatter: p => tip(c.y.title + ' ' + c.rows[p.data[1]] + ', ' + c.x.title + ' ' + c.columns[p.data[0]],
        [[c.value.title, withUnit(c.value, p.data[2])]])},
      series: [{name: c.value.title, type: 'heatmap', data: cells, progressive: 0}]};
  }

  const drawn = [];
  for (const data of document.querySelectorAll('script[data-chart]')) {
    const chart = JSON.parse(data.textContent), place = document.getElementById(data.dataset.chart);
    const marks = chart.values ? chart.values.length * (chart.values[0] || []).length
      : chart.series.reduce((n, s) => n + (s.points || s.values).length, 0);
    const instance = echarts.init(place, null, {renderer: marks > MANY ? 'canvas' : 'svg'});
    const draw = () => instance.setOption(option(chart, place.clientWidth < 560), true);
    draw();
    drawn.push(() => { instance.resize(); draw(); });
  }
  const all = () => drawn.forEach(draw => draw());
  addEventListener('resize', all);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', all);
})();
