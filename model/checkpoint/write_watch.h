// Whether somebody has written to one of some files: what their times alone cannot tell, since a
// writer may put those back, and since other things than writing (renaming the file, changing its
// mode) change the time of the last change.
#ifndef HOOKWIRE_MODEL_CHECKPOINT_WRITE_WATCH_H_
#define HOOKWIRE_MODEL_CHECKPOINT_WRITE_WATCH_H_

namespace hookwire::model {

// Thread-safe after the last Add. One instance of inotify, of which a user has few (128 by
// default): where there is none left, it sees nothing. Nor does it see writes through a shared
// mapping, or on another machine that shares the disk; they change the file's times.
class WriteWatch {
 public:
  WriteWatch();
  ~WriteWatch();
  WriteWatch(const WriteWatch&) = delete;
  WriteWatch& operator=(const WriteWatch&) = delete;

  // Watches the open file itself, whatever its name becomes.
  void Add(int fd);

  // Whether a file has been written or truncated since it was added. From then on it stays so.
  bool written() const;

 private:
  int inotify_;
};

}  // namespace hookwire::model

#endif  // HOOKWIRE_MODEL_CHECKPOINT_WRITE_WATCH_H_
